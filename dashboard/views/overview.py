"""Overview: how far the chosen job is, how good it is, and which model answers."""

from collections.abc import Sequence

import streamlit as st

from dashboard.charts.training import BASELINES, POPULARITY, baselines, best, measured, ranking_chart, strongest
from dashboard.components.connection import client
from dashboard.components.drawings import panel
from dashboard.components.job_choice import chosen_job, default_job, jobs_shown, known_jobs, there_are_older_jobs
from dashboard.components.job_header import job_header
from dashboard.components.job_table import job_table
from dashboard.components.live import JobView, live
from dashboard.components.states import no_job_yet, waiting_for_rounds
from dashboard.plain_text import in_markdown
from dashboard.transport import BackendError
from dashboard.words import ago, first_validation, job_name, share, state_of, with_error
from fedmem.contracts import Job, ModelPage, ModelVersion

METRIC = "HR@10"
TIMES = 3.0  # from which on per cent are hard to read
FIGURE = 130  # pixels: four beside each other, or two in a narrow window
MEANING = "Hit rate at 10: the share of users whose held-out item is among the first ten of all items."
KEPT = f"{MEANING} The model kept is the best by validation NDCG@10; its hit rate need not be the best."
BESIDE = "The note says how much better or worse the kept model's hit rate is."
# In a word each; none of them is trained by rounds.
HOW = {
    POPULARITY: "The same list of the most popular items for every user.",
    "item_counts": "Items that others took near the user's last ones, by counting; it sees every user's history.",
    "ease": "A linear model from items to items, solved at once; it sees every user's history.",
}


def overview() -> None:
    """Show the chosen job, which is the active one where none was chosen, and the model in service."""
    st.title("Overview")
    jobs = known_jobs()
    if not jobs:
        no_job_yet()
        return
    models = _models()
    _newer_failure(jobs)
    live(chosen_job() or default_job(jobs), lambda view: _draw(view, jobs, models))


def _newer_failure(jobs: Sequence[Job]) -> None:
    """Say that the newest job failed, where the page is about another."""
    newest, chosen = max(jobs, key=lambda job: job.id), chosen_job()
    with st.container():  # one place, whether there is something to say or not: `live` says why
        if newest.state == "failed" and chosen is not None and newest.id != chosen.id:
            why = f": {in_markdown(newest.message)}" if newest.message else "; the System page shows its log"
            st.error(f"{job_name(newest)}, the newest, failed{why}.", icon=":material/error:")


def _models() -> ModelPage | str:
    """List the models, or say why they cannot be listed."""
    try:
        return client().models()
    except BackendError as error:
        return str(error)


def _draw(view: JobView, jobs: Sequence[Job], models: ModelPage | str) -> None:
    left, right = st.columns([5, 2], gap="medium")
    with left:
        _job(view)
    with right:
        several = not isinstance(models, str) and len(models.in_service) > 1
        st.markdown("**Models in service**" if several else "**Model in service**")
        if isinstance(models, str):
            st.caption(in_markdown(models))
        else:
            _serving(models)
    st.subheader("Jobs")
    job_table([view.job if job.id == view.job.id else job for job in jobs])
    if there_are_older_jobs():
        st.caption(f"The newest {jobs_shown()} jobs; “Older jobs” in the sidebar brings more.")


def _job(view: JobView) -> None:
    job_header(view)
    if not view.rounds:
        waiting_for_rounds(state_of(view.job))
        return
    _figures(view)
    if measured(view.rounds, METRIC):
        chart = ranking_chart({job_name(view.job): view.rounds}, METRIC)
        panel("Validation by round", chart, "overview-validation", "The band is one standard error over users.")


def _figures(view: JobView) -> None:
    """Show the last and the kept model and the baselines side by side: popularity, and the strongest of the others."""
    reached, top = measured(view.rounds, METRIC), best(view.rounds, METRIC)
    levels, strong = baselines(view.rounds, METRIC), strongest(view.rounds, METRIC)
    shown = [name for name in (POPULARITY, strong) if name in levels]
    with st.container(horizontal=True):
        last = reached[-1] if reached else None
        for label, found, meaning in ((f"Last {METRIC}", last, MEANING), (f"Kept {METRIC}", top, KEPT)):
            value, at = ("–", None) if found is None else (share(found[1]), f"round {found[0]}")
            _figure(label, value, at, meaning)
        for name in shown:
            label = BASELINES[name]
            note = f"kept is {beside(top[1], levels[name])}" if top and levels[name] else "baseline"
            _figure(label[0].upper() + label[1:], share(levels[name]), note, f"A baseline. {HOW[name]} {BESIDE}")
    if not reached:
        st.caption(first_validation(view.job))


def beside(kept: float, level: float) -> str:
    """Say how a metric of the kept model stands beside a baseline's: in per cent, or in times where it is far above."""
    times = kept / level
    if f"{times:.2f}" == "1.00":
        return "as good"
    if times >= TIMES:
        return f"{times:,.1f}× as good"
    return f"{abs(times - 1):.0%} {'worse' if times < 1 else 'better'}"


def _figure(label: str, value: str, note: str | None, meaning: str) -> None:
    st.metric(label, value, note, delta_color="off", delta_arrow="off", help=meaning, width=FIGURE)


def _serving(models: ModelPage) -> None:
    if not models.in_service:
        st.info("None yet: a training job puts its best model into service when it is done.", icon=":material/info:")
        return
    by_version = {model.version: model for model in models.models}
    for one in models.in_service:
        if (model := by_version.get(one.model_version)) is not None:
            _model(model)
        else:
            st.caption(
                f"{in_markdown(one.model_version)} on {in_markdown(one.dataset)}, which is older than the "
                f"{len(models.models)} newest models."
            )
    st.page_link("views/recommend.py", label="See what it recommends", icon=":material/movie:")


def _model(serving: ModelVersion) -> None:
    with st.container(border=True):
        st.markdown(f":material/deployed_code: **{in_markdown(serving.version)}**")
        st.caption(
            f"On {in_markdown(serving.dataset)}, round {serving.round} of job {serving.job_id}, "
            f"made {ago(serving.created_at)}."
        )
        for split, label in (("test", "Test"), ("validation", "Validation")):
            table = serving.metrics.get(split, {})
            if METRIC in table:
                st.metric(f"{label} {METRIC}", with_error(table, METRIC))


if __name__ == "__main__":
    overview()
