"""System: is everything running, which models are there, and what does a job's log say."""

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from dashboard.client import BackendError
from dashboard.components.connection import client, settings
from dashboard.components.job_choice import chosen_job
from dashboard.components.live import JobView, live
from dashboard.components.states import backend_needed, empty, trouble
from dashboard.words import ago, job_name, share
from fedmem import __version__
from fedmem.contracts import LogLine, ModelVersion, Trainer

LINES = 200
ICONS = {"INFO": "", "WARNING": "⚠ ", "ERROR": "✖ "}


def system() -> None:
    """Health, trainers, data sets, models, log."""
    st.title("System")
    st.fragment(run_every=max(5.0, settings().poll_seconds))(_health)()
    with backend_needed():
        _models()
    with backend_needed():
        _datasets()
    job = chosen_job()
    if job is not None:
        st.subheader(f"Log of {job_name(job)}")
        live(job, _log, with_rounds=False)


def _health() -> None:
    try:
        trainers = client().trainers().trainers
    except BackendError as error:
        trouble(error)
        return
    service, training, version = st.columns(3)
    with service:
        _tile("Recommendations", *_readiness())
    alive = [trainer for trainer in trainers if trainer.alive]
    with training:
        words = f"{len(alive)} running" if alive else "none runs"
        _tile("Trainers", bool(alive), words if alive else f"{words}: start one with `fedmem trainer`")
    with version:
        _tile("Backend", True, f"answers at {client().base_url}, dashboard {__version__}")
    if trainers:
        _trainers(trainers)


def _readiness() -> tuple[bool, str]:
    try:
        return True, f"answered by `{client().ready().model_version}`"
    except BackendError as error:
        return False, str(error)


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
            "Running since": ago(trainer.started_at),
        }
        for trainer in trainers
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")


def _models() -> None:
    st.subheader("Models")
    page = client().models()
    if not page.models:
        empty("No model yet", "Every job that ends with at least one round leaves one.", ":material/deployed_code:")
        return
    rows = [
        {
            "Model": model.version,
            "State": "in service" if model.version == page.serving else "",
            "Data set": model.dataset,
            "Test HR@10": _figure(model, "test"),
            "Validation HR@10": _figure(model, "validation"),
            "Made": ago(model.created_at),
            "Note": _note(model),
        }
        for model in page.models
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")
    others = [model.version for model in page.models if model.version != page.serving and model.kept]
    if others:
        _activation(others)


def _figure(model: ModelVersion, split: str) -> str:
    value = model.metrics.get(split, {}).get("HR@10")
    return "–" if value is None else share(value)


def _note(model: ModelVersion) -> str:
    if model.refused:
        return f"refused: {model.refused}"
    return "" if model.kept else "its checkpoint was removed"


def _activation(others: Sequence[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        version = st.selectbox("Another model", others, key="other-model", width=280)
        if st.button("Put into service", icon=":material/swap_horiz:", key="activate"):
            _confirm(version)


@st.dialog("Put another model into service?")
def _confirm(version: str) -> None:
    st.markdown(
        f"From now on `{version}` answers every recommendation. It is loaded and checked first, no request fails "
        "meanwhile, and the change can be undone in the same way."
    )
    with st.container(horizontal=True):
        if st.button("Put it into service", type="primary", key="confirm-activate"):
            _activate(lambda: client().activate(version))
        if st.button("Leave it", key="leave-model"):
            st.rerun()


def _activate(ask: Callable[[], ModelVersion]) -> None:
    try:
        ask()
    except BackendError as error:
        st.error(str(error), icon=":material/error:")
        return
    st.rerun()


def _datasets() -> None:
    st.subheader("Data sets")
    found = client().datasets().datasets
    if not found:
        empty(
            "No data set yet",
            "Import one: `fedmem data import PATH`. `fedmem up` makes the demo.",
            ":material/database:",
        )
        return
    rows = [
        {
            "Data set": dataset.name,
            "Users": f"{dataset.users:,}",
            "Items": f"{dataset.items:,}",
            "Interactions": f"{dataset.interactions:,}",
            "Imported": ago(dataset.imported_at),
        }
        for dataset in found
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")


def _log(view: JobView) -> None:
    key = f"log-{view.job.id}-{view.job.created_at}"
    lines: tuple[LogLine, ...] = st.session_state.get(key, ())
    try:
        lines += client().logs(view.job.id, lines[-1].id if lines else 0).lines
    except BackendError as error:
        st.caption(str(error))
    st.session_state[key] = lines
    if not lines:
        st.caption("Nothing was written yet.")
        return
    text = "\n".join(f"{line.time:%d %b %H:%M:%S}  {ICONS[line.level]}{line.message}" for line in lines[-LINES:])
    st.code(text, language=None, height=320, wrap_lines=True)


if __name__ == "__main__":
    system()
