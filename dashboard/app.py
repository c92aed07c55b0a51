"""The dashboard's frame: navigation, the choice of a job, and what to show while the backend is away."""

import streamlit as st

from dashboard.client import BackendError
from dashboard.components.job_choice import choose_job, take_up_choice
from dashboard.components.states import trouble

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
        ("experiments", "Experiments", ":material/science:"),
    ),
    "Operation": (
        ("privacy", "Privacy", ":material/shield:"),
        ("system", "System", ":material/monitor_heart:"),
    ),
}


def main() -> None:
    """One run of the script: what is common to all pages, then the page."""
    st.set_page_config(page_title="FedMem", page_icon=":material/hub:", layout="wide")
    page = st.navigation(
        {
            section: [
                st.Page(f"pages/{name}.py", title=title, icon=icon, default=name == "overview")
                for name, title, icon in pages
            ]
            for section, pages in PAGES.items()
        }
    )
    take_up_choice()
    try:
        choose_job()
    except BackendError as error:
        st.title(page.title)
        trouble(error)
        return
    page.run()


if __name__ == "__main__":
    main()
