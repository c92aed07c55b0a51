import streamlit as st

st.title("Prototypes")
