"""System: is everything running, which models are there, and what does a job's log say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import streamlit as st

from dashboard.client import LIMIT
from dashboard.components.confirmation import Confirmation
from dashboard.components.connection import client, settings
from dashboard.components.job_choice import chosen_job
from dashboard.components.live import JobView, live
from dashboard.components.model_history import model_history
from dashboard.components.states import backend_needed, empty, said_last, trouble
from dashboard.components.tables import words_table
from dashboard.plain_text import in_markdown
from dashboard.transport import BackendError
from dashboard.words import ago, job_name, share
from fedmem import __version__
from fedmem.contracts import InService, Job, LogLine, ModelPage, ModelVersion, Trainer, tried_beside, why_ready

FORGOTTEN = timedelta(hours=1)  # a silent trainer without a job is not listed any more
LINES = 200  # of a log, at first and with each look further back
_HEALTH = "health"
ACTIVATION = Confirmation(
    "activate", "Put another model into service?", "Put it into service", lambda version: client().activate(version)
)
SILENT = (
    "A silent trainer has said nothing for a while: it was killed, or its machine is away. Another takes its job up; "
    "an hour later it is no longer listed."
)
STATES = {"in_service": "to serve", "ready": "ready", "replaced": "served before"}
ICONS = {"INFO": "", "WARNING": "⚠ ", "ERROR": "✖ "}


def system() -> None:
    """Show health, trainers, models, log."""
    st.title("System")
    st.fragment(run_every=max(5.0, settings().poll_seconds))(_health)()
    with st.container(), backend_needed("models"):
        _models()
    with st.container(), backend_needed("history"):
        model_history()
    job = chosen_job()
    if job is not None:
        st.subheader(f"Log of {job_name(job)}, newest first")
        live(job, _log, with_rounds=False)


def _health() -> None:
    missed = None
    try:
        st.session_state[_HEALTH] = client().trainers().trainers, _readiness()
    except BackendError as error:
        missed = error
        if _HEALTH not in st.session_state:
            trouble(error, "health")
            return
    trainers, ready = st.session_state[_HEALTH]
    listed = [one for one in trainers if one.alive or one.seen_at > datetime.now(UTC) - FORGOTTEN]
    service, training, version = st.columns(3)
    with service:
        _tile("Recommendations", *ready)
    alive = [trainer for trainer in trainers if trainer.alive]
    with training:
        _tile("Trainers", bool(alive), _how_many(len(alive), sum(not one.alive for one in listed)))
    with version:
        words = "answers" if missed is None else "does not answer"
        _tile("Backend", missed is None, f"{words} at {in_markdown(client().base_url)}, dashboard {__version__}")
    if listed:
        _trainers(listed)
    if missed is not None:
        said_last(missed)


def _how_many(alive: int, silent: int) -> str:
    if not alive:
        return "none runs: start one with `fedmem trainer`"
    return f"{alive} running" + (f", {silent} silent" if silent else "")


def _readiness() -> tuple[bool, str]:
    try:
        in_service = client().ready().in_service
        if len(in_service) == 1:
            return True, f"answered by {in_markdown(in_service[0].model_version)}{_in_test(in_service[0])}"
        return True, "; ".join(map(_who_answers, in_service))
    except BackendError as error:
        return False, in_markdown(error)


def _who_answers(one: InService) -> str:
    notes = ["the default"] * one.default + ["loaded once it is asked"] * (not one.in_memory)
    words = f"{in_markdown(one.dataset)} by {in_markdown(one.model_version)}"
    return words + (f" ({', '.join(notes)})" if notes else "") + _in_test(one)


def _in_test(one: InService) -> str:
    """Say that a share of the users is answered by another model, where it is."""
    test = one.ab_test
    if test is None:
        return ""
    return f", and {test.share:.0%} of the users by {in_markdown(test.treatment)} in A/B test {test.id}"


def _tile(title: str, good: bool, words: str) -> None:
    with st.container(border=True, height="stretch"):
        sign = ":green[:material/check_circle:]" if good else ":orange[:material/pending:]"
        st.markdown(f"{sign} **{title}**")
        st.caption(words)


def _trainers(trainers: Sequence[Trainer]) -> None:
    rows = [
        {
            "Trainer": trainer.worker,
            "State": ("training" if trainer.job_id is not None else "waits for a job") if trainer.alive else "silent",
            "Job": "–" if trainer.job_id is None else str(trainer.job_id),
            "Last heard of": ago(trainer.seen_at),
            "Started": ago(trainer.started_at),
        }
        for trainer in trainers
    ]
    words_table(rows)
    if not all(trainer.alive for trainer in trainers):
        st.caption(SILENT)


def _models() -> None:
    st.subheader("Models")
    page = client().models()
    if not page.models:
        empty("No model yet", "Every job that ends with at least one round leaves one.", ":material/deployed_code:")
        return
    notes = _notes(page)
    rows = [
        {
            "Model": model.version,
            "State": "in service" if model.serving else STATES[model.state],
            "Data set": model.dataset,
            "Test HR@10": _figure(model, "test"),
            "Validation HR@10": _figure(model, "validation"),
            "Made": ago(model.created_at),
            "Note": notes[model.version],
        }
        for model in page.models
    ]
    words_table(rows)
    if len(page.models) == LIMIT:
        st.caption(f"The newest {LIMIT} models.")
    others = {model.version: model.dataset for model in page.models if not model.serving and model.kept}
    if others:
        _activation(others)


def _figure(model: ModelVersion, split: str) -> str:
    value = model.metrics.get(split, {}).get("HR@10")
    return "–" if value is None else share(value)


def _notes(page: ModelPage) -> dict[str, str]:
    """Say of each model what is to be said of it beside its state."""
    silent = any(model.state == "ready" and model.waits is None for model in page.models)
    jobs = {job.id: job for job in client().jobs(LIMIT).jobs} if silent else {}
    tests = {one.ab_test.treatment: one for one in page.in_service if one.ab_test is not None}
    return {model.version: note_of(model, tests.get(model.version), jobs.get(model.job_id)) for model in page.models}


def note_of(model: ModelVersion, beside: InService | None, job: Job | None) -> str:
    """Say what became of a model; ``beside`` is what serves the others in its A/B test, ``job`` what it is of."""
    if model.refused:
        return f"refused: {model.refused}"
    if not model.kept:
        return "its checkpoint was removed"
    if beside is not None and beside.ab_test is not None:
        return tried_beside(beside.model_version, beside.ab_test.id, beside.ab_test.share)
    if model.waits:
        return f"waits: {model.waits}"
    if model.state != "ready" or job is None:
        return ""
    return why_ready(job.kind, job.state, took_up=job.start_from is not None and job.snapshot == "newest") or ""


def _activation(others: Mapping[str, str]) -> None:
    """Offer to put one of the other models, which are given with their data sets, into service."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        version = st.selectbox("Another model", list(others), key="other-model", width=280)
        st.button(
            "Put into service", icon=":material/swap_horiz:", key="activate", on_click=ACTIVATION.ask, args=(version,)
        )
    asked = ACTIVATION.about
    if asked is not None and asked in others:
        ACTIVATION.draw(
            f"From now on {in_markdown(asked)} answers every recommendation on {in_markdown(others[asked])}. It is "
            "loaded and checked first, no request fails meanwhile, and the change can be undone in the same way."
        )


@dataclass
class _Log:
    """The end of a job's log, as far back as the reader went."""

    lines: tuple[LogLine, ...] = ()
    whole: bool = False

    def follow(self, job_id: int) -> None:
        """Read what was written since; at first, the last lines."""
        if self.lines:
            self.lines += client().logs(job_id, self.lines[-1].id)
        else:
            self.look_back(job_id)

    def look_back(self, job_id: int) -> None:
        """Read some more lines, before those that are known."""
        earlier = client().earlier_logs(job_id, self.lines[0].id if self.lines else None, LINES)
        self.lines = earlier + self.lines
        self.whole = len(earlier) < LINES


def _log(view: JobView) -> None:
    log: _Log = st.session_state.setdefault(f"log-{view.job.id}-{view.job.created_at}", _Log())
    try:
        log.follow(view.job.id)
        if not log.whole and st.button("Earlier lines", icon=":material/history:", key="earlier-lines"):
            log.look_back(view.job.id)
    except BackendError as error:
        st.caption(in_markdown(error))
    if not log.lines:
        st.caption("Nothing was written yet.")
        return
    newest_first = reversed(log.lines)
    text = "\n".join(f"{line.time:%d %b %H:%M:%S}  {ICONS[line.level]}{line.message}" for line in newest_first)
    st.code(text, language=None, height=320, wrap_lines=True)


if __name__ == "__main__":
    system()
