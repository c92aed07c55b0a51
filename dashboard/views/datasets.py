"""Data sets: what is there, and files that are imported."""

import streamlit as st

from dashboard.components.connection import client
from dashboard.components.import_form import import_form
from dashboard.components.states import backend_needed, empty
from dashboard.components.tables import words_table
from dashboard.words import ago


def datasets() -> None:
    """Show the data sets, and the form by which a file becomes one or is added to one."""
    st.title("Data sets")
    with backend_needed():
        found = client().datasets().datasets
        if not found:
            empty(
                "No data set yet",
                "Import a file below, or on the command line, which reads folders and pictures too: "
                "`fedmem data import PATH`. `fedmem up` makes the demo.",
                ":material/database:",
            )
        else:
            rows = [
                {
                    "Data set": dataset.name,
                    "Users": f"{dataset.users:,}",
                    "Items": f"{dataset.items:,}",
                    "Interactions": f"{dataset.interactions:,}",
                    "Imported": ago(dataset.imported_at),
                    "From": dataset.source,
                }
                for dataset in found
            ]
            words_table(rows)
        import_form([dataset.name for dataset in found])


if __name__ == "__main__":
    datasets()
