"""One prototype of a job: what lies nearest to it, and what it alone would recommend."""

from collections.abc import Sequence

import streamlit as st

from dashboard.charts.prototypes import name
from dashboard.components.answers import answer_list, in_common
from dashboard.components.connection import client
from dashboard.components.covers import Card, cover_grid
from dashboard.components.job_choice import PROTOTYPE
from dashboard.plain_text import in_markdown
from dashboard.transport import BackendError
from dashboard.words import is_under_way
from fedmem.contracts import Job, Prototype, PrototypeRound, RecommendationRequest

NEAREST, COLD = 5, 10
UNKNOWN_USER = RecommendationRequest(history=(), k=COLD, explain=True)
BY_ONE = (
    "What an unknown user would get if the global memory were this prototype alone. The lists of a model are alike: "
    "without a history, what is popular weighs most."
)


def one_prototype(job: Job, shown: PrototypeRound) -> int:
    """Show a prototype that the reader picks: what lies nearest to it, and what it would recommend alone."""
    with st.container(border=True):
        st.markdown("**One prototype**")
        index = _picked(job, [prototype.index for prototype in shown.prototypes])
        prototype = next(each for each in shown.prototypes if each.index == index)
        st.caption(f"{100 * prototype.mass:.0f} % of the mass. The {NEAREST} items nearest to it, after this round:")
        nearest(prototype, job)
        st.markdown("**What it recommends to a new user**", help=BY_ONE)
        _recommended(job, index)
    return index


def _picked(job: Job, indices: Sequence[int]) -> int:
    """Ask which one; it is in the address unless it is the first, and only as long as the job is in view."""
    given = st.query_params.get(PROTOTYPE)
    index = st.pills(
        "Prototype",
        indices,
        default=next((index for index in indices if name(index) == given), indices[0]),
        required=True,
        key=f"prototype-{job.id}",
        format_func=name,
        label_visibility="collapsed",
    )
    if index == indices[0]:
        st.query_params.pop(PROTOTYPE, None)
    else:
        st.query_params[PROTOTYPE] = name(index)
    return index


def nearest(prototype: Prototype, job: Job) -> None:
    """Show the items that lie nearest, as covers."""
    if prototype.nearest:
        cards = [Card(item.item_id, item.title) for item in prototype.nearest[:NEAREST]]
        cover_grid(cards, job.dataset, "small")
    else:
        st.caption("Nothing lies near: no client has filled it.")


def _recommended(job: Job, index: int) -> None:
    """Show what the model in service answers; only that one is in memory."""
    try:
        model = _in_service(job)
        if model is None:
            return
        alone = client().recommend_by_prototype(index, COLD, model)
        every = client().recommend_for(UNKNOWN_USER, job.dataset)
    except BackendError as error:
        st.caption(in_markdown(error))
        return
    st.caption(
        f"By {in_markdown(alone.model_version)}, which has the prototypes of round {alone.round}. "
        f"{in_common(alone, every)} of {len(alone.items)} would be recommended by all prototypes together as well; "
        "▲ and ▼ say how each moved."
    )
    answer_list(alone, job.dataset, every)


def _in_service(job: Job) -> str | None:
    """Get the job's model if it answers; if not, say what to do."""
    if job.model_version is None:
        after = "It comes when the job ends." if is_under_way(job) else "It ended before it had one."
        st.info(f"This job has no model yet that could recommend. {after}", icon=":material/info:")
        return None
    in_service = {one.dataset: one.model_version for one in client().models().in_service}
    serving = in_service.get(job.dataset)
    if serving != job.model_version:
        other = f"{in_markdown(serving)} does" if serving else f"no model of {in_markdown(job.dataset)} does"
        st.info(
            f"This job's model, {in_markdown(job.model_version)}, does not serve now; {other}. Put it into service on "
            "the System page to see what its prototypes recommend.",
            icon=":material/info:",
        )
        st.page_link("views/system.py", label="Go to System", icon=":material/swap_horiz:")
        return None
    return serving
