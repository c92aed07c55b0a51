"""What all sessions share: settings, one API client, and the rounds known so far."""

import streamlit as st

from dashboard.client import ApiClient
from dashboard.prototype_book import PrototypeBook
from dashboard.rounds import RoundBook
from dashboard.settings import Settings


@st.cache_resource(show_spinner=False)
def settings() -> Settings:
    """Load the settings of this process."""
    return Settings.load()


@st.cache_resource(show_spinner=False, on_release=ApiClient.close)
def client() -> ApiClient:
    """Open the one connection pool to the backend."""
    key = settings().api_key
    return ApiClient(settings().base_url, None if key is None else key.get_secret_value())


@st.cache_resource(show_spinner=False)
def round_book() -> RoundBook:
    """Keep the rounds of all jobs, asked for once for all sessions."""
    return RoundBook(client())


@st.cache_resource(show_spinner=False)
def prototype_book() -> PrototypeBook:
    """Keep prototypes and maps of all jobs, asked for once for all sessions."""
    return PrototypeBook(client())
