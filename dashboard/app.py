"""The dashboard's frame: navigation, the choice of a job, and what to show while the backend is away."""

import streamlit as st

from dashboard.components.job_choice import choose_job, take_up_choice
from dashboard.components.news import look_for_news
from dashboard.components.states import trouble
from dashboard.components.style import apply_style
from dashboard.logo import ICON, WORDMARK
from dashboard.transport import BackendError

PAGES = {
    "Now": (
        ("overview", "Overview", ":material/dashboard:"),
        ("training", "Training", ":material/trending_up:"),
    ),
    "Inside the method": (
        ("clients", "Clients", ":material/group:"),
        ("memory", "Memory", ":material/psychology:"),
        ("prototypes", "Prototypes", ":material/bubble_chart:"),
    ),
    "Results": (
        ("recommend", "Recommend", ":material/movie:"),
        ("online", "Online", ":material/ads_click:"),
        ("experiments", "Experiments", ":material/science:"),
    ),
    "Data": (
        ("datasets", "Data sets", ":material/database:"),
        ("items", "Items", ":material/inventory_2:"),
        ("users", "Users", ":material/person_search:"),
    ),
    "Operation": (
        ("schedules", "Schedules", ":material/schedule:"),
        ("privacy", "Privacy", ":material/shield:"),
        ("system", "System", ":material/monitor_heart:"),
    ),
}


def main() -> None:
    """Draw what all pages share, then the page: one run of the script."""
    st.set_page_config(page_title="FedMem", page_icon=ICON, layout="wide")
    pages = {section: [*map(_page, pages)] for section, pages in PAGES.items()} | {"": [_also_home()]}
    page = st.navigation(pages, expanded=True)
    st.logo(WORDMARK, size="large", icon_image=ICON)
    apply_style()
    take_up_choice()
    try:
        choose_job()
    except BackendError as error:
        st.title(page.title)
        trouble(error)
        return
    page.run()
    look_for_news()


def _page(about: tuple[str, str, str]) -> st.Page:
    name, title, icon = about
    first = name == "overview"
    return st.Page(f"views/{name}.py", title=title, icon=icon, default=first, url_path="home" if first else name)


def _also_home() -> st.Page:
    """Lead from the first page's name, which a reader may well type, to its address, the root."""

    def go() -> None:
        st.switch_page("views/overview.py", query_params=st.query_params.to_dict())

    return st.Page(go, title="Overview", url_path="overview", visibility="hidden")


if __name__ == "__main__":
    main()
