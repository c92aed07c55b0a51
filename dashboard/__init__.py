"""The Streamlit dashboard: reads the API only."""
