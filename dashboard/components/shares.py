"""What a job's scores are made of: the share of each part in what is recommended."""

import streamlit as st

from dashboard.charts.recommend import PARTS
from dashboard.components.connection import client
from dashboard.components.live import JobView
from dashboard.plain_text import in_markdown
from dashboard.transport import RefusedError

MEANING = (
    "How far each part lifts the ten best items above the mean one: a score is the sum of its parts, and a share is "
    "the mean over users. A part below 0 ranks against the others."
)


def shares(view: JobView) -> None:
    """Show the shares, greatest first, or when they come."""
    st.subheader("What the scores are made of", help=MEANING)
    if view.job.model_version is None:
        st.caption("They come with the job's test, when all rounds are done.")
        return
    try:
        found = client().shares(view.job.id).shares
    except RefusedError as error:
        st.caption(in_markdown(error))
        return
    ordered = sorted(found.items(), key=lambda pair: -pair[1])
    for place, (part, share) in zip(st.columns(len(ordered)), ordered, strict=True):
        place.metric(PARTS.get(part, part), f"{share:z.1%}")
