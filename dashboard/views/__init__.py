"""The pages, each a script that the navigation runs.

The folder is not called ``pages``: Streamlit would take one of that name beside the application's script for its older
kind of pages, and run a page that is the first to be opened by its address without the application around it.
"""
