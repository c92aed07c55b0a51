"""Training: how a job learns, beside other runs; start, pause, resume, stop."""

from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard.address import whole_number
from dashboard.charts.training import loss_chart, peak_memory_chart, ranking_chart, seconds_chart
from dashboard.comparisons import compare_jobs, why_not
from dashboard.components.connection import client, round_book
from dashboard.components.drawings import panel
from dashboard.components.job_choice import chosen_job, known_jobs
from dashboard.components.job_controls import job_controls
from dashboard.components.job_header import job_header
from dashboard.components.job_removal import job_removal
from dashboard.components.live import JobView, live
from dashboard.components.new_job import is_wanted, new_job, open_form
from dashboard.components.states import backend_needed, empty, waiting_for_rounds
from dashboard.components.tables import words_table
from dashboard.plain_text import in_markdown
from dashboard.words import as_sentence, first_validation, is_under_way, job_label, job_name, shown_value, state_of
from fedmem.contracts import Job, RoundMetrics
from fedmem.evaluation.metric_table import metric_names

LOSSES = {"recommendation_loss": "Recommendation loss (nats)", "contrastive_loss": "Contrastive loss (nats)"}
OFF = "It is off in this run: by its configuration, or because its items do not have both texts and pictures."
MOST_COMPARED = 5
_URL = "compare"


def training() -> None:
    """Show a new job and what to compare with above, the live part with its controls below."""
    st.title("Training")
    job = chosen_job()
    st.button("New training job", icon=":material/add:", on_click=open_form, key="new-job", disabled=is_wanted())
    with st.container():  # one place, whether there is a form or not: `live` says why
        if is_wanted():
            with backend_needed("form"):
                new_job()
    if job is None:
        if not is_wanted():
            empty(
                "No training job yet",
                "Start one above, or queue one with `POST /jobs`; its rounds appear here as they finish.",
                ":material/model_training:",
            )
        return
    with st.container():
        compared = _compared(job)
    live(job, lambda view: _draw(view, compared), beside=compared)
    if compared:
        _differences([job, *compared])
    job_removal(job)


def _compared(job: Job) -> list[Job]:
    """Ask for other jobs, chosen by the reader and kept in the URL."""
    others = {other.id: other for other in known_jobs() if other.id != job.id and other.round > 0}
    if not others:
        return []
    # Not bound to the URL by Streamlit, which would write whole labels into it.
    wanted = [whole_number(given) for given in st.query_params.get(_URL, "").split(",")]
    chosen = st.multiselect(
        "Compare with",
        list(others),
        default=[number for number in dict.fromkeys(wanted) if number in others][:MOST_COMPARED],
        format_func=lambda number: job_label(others[number]),
        key="compare",
        max_selections=MOST_COMPARED,
        placeholder="other jobs",
    )
    if chosen:
        st.query_params[_URL] = ",".join(map(str, chosen))
    else:
        st.query_params.pop(_URL, None)
    refused = {number: why for number in chosen if (why := why_not(job, others[number])) is not None}
    for why in refused.values():
        st.warning(in_markdown(as_sentence(why)), icon=":material/compare_arrows:")
    return [others[number] for number in chosen if number not in refused]


def _draw(view: JobView, compared: Sequence[Job]) -> None:
    job_controls(view.job)
    job_header(view)
    if not view.trained:
        waiting_for_rounds(state_of(view.job))
        return
    runs = {f"Job {view.job.id}": view.rounds}
    with backend_needed("comparison"):
        runs |= {f"Job {other.id}": round_book().read(_now(other)) for other in compared}
    _validation(view, runs)
    _losses(runs)
    _cost(view)
    st.caption("Drag pans, Shift and the wheel zoom, a double-click shows everything again.")


def _now(job: Job) -> Job:
    """Get a job that is compared with, which may be under way itself."""
    return client().job(job.id) if is_under_way(job) else job


def _validation(view: JobView, runs: Mapping[str, Sequence[RoundMetrics]]) -> None:
    st.subheader("Validation")
    cutoffs = list(view.job.config.evaluation.k_list)
    k = st.segmented_control(
        "Cut-off: how many of the first places count",
        cutoffs,
        default=_default(cutoffs),
        key="k",
        format_func=str,
        required=True,
        bind="query-params",
    )
    names = metric_names([k], view.job.config.evaluation.metrics)
    if not any("HR@10" in each.metrics.get("validation", {}) for each in view.rounds):
        st.info(first_validation(view.job), icon=":material/info:")
    note = (
        "The diamond marks the round whose model is kept, the best by NDCG@10; the band is one standard error over "
        "users, the thin line the same model without its transition memory."
    )
    for place, metric in zip(st.columns(len(names)), names, strict=True):
        with place:
            panel(metric, ranking_chart(runs, metric, without=True), f"training-{metric.partition('@')[0]}", note)


def _default(cutoffs: Sequence[int]) -> int:
    return 10 if 10 in cutoffs else cutoffs[0]


def _losses(runs: Mapping[str, Sequence[RoundMetrics]]) -> None:
    st.subheader("Losses on the clients")
    for place, (name, title) in zip(st.columns(2), LOSSES.items(), strict=True):
        with place:
            panel(title.partition(" (")[0], loss_chart(runs, name, title), f"training-{name}", nothing=OFF)


def _cost(view: JobView) -> None:
    st.subheader("What a round costs")
    left, right = st.columns(2)
    with left:
        panel("Time by phase", seconds_chart(view.trained), "training-seconds")
    with right:
        panel("Memory of the trainer's process", peak_memory_chart(view.trained), "training-peak")


def _differences(jobs: Sequence[Job]) -> None:
    st.subheader("What sets the jobs apart")
    found = compare_jobs(jobs)
    if found.note is not None:
        st.info(in_markdown(as_sentence(found.note)), icon=":material/info:")
    if not found.differences:
        st.caption("Nothing: settings and data are the same.")
        return
    names = [job_name(job) for job in jobs]
    words_table(
        [
            {"Setting": name, **{run: shown_value(name, value) for run, value in zip(names, values, strict=True)}}
            for name, values in found.differences.items()
        ]
    )


if __name__ == "__main__":
    training()
