import streamlit as st

st.title("Privacy")
