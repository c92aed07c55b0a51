"""The dashboard's frame: navigation, the choice of a job, and what to show while the backend is away."""

import streamlit as st

from dashboard.components.job_choice import choose_job, take_up_choice
from dashboard.components.news import look_for_news
from dashboard.components.states import trouble
from dashboard.components.style import apply_style
from dashboard.transport import BackendError

# Drawn here, because Streamlit would fetch a named icon from another site: clients around what they share.
ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<g stroke="#56B4E9" stroke-width="2"><path d="M16 16 16 5M16 16 26 12M16 16 22 26M16 16 10 26M16 16 6 12"/></g>
<g fill="#2E8BC9"><circle cx="16" cy="5" r="3.5"/><circle cx="26" cy="12" r="3.5"/><circle cx="22" cy="26" r="3.5"/>
<circle cx="10" cy="26" r="3.5"/><circle cx="6" cy="12" r="3.5"/></g>
<circle cx="16" cy="16" r="5" fill="#D55E00"/></svg>"""
WORDMARK = ICON.replace('viewBox="0 0 32 32"', 'viewBox="0 0 136 32" width="136" height="32"').replace(
    "</svg>",
    '<text x="40" y="23" font-family="sans-serif" font-size="20" font-weight="700" fill="#2E8BC9">FedMem</text></svg>',
)

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
