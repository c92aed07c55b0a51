"""Experiments: finished runs side by side, with standard errors and what sets them apart."""

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from dashboard.charts.experiments import Result, results_chart
from dashboard.client import LIMIT, BackendError
from dashboard.components.connection import client, round_book
from dashboard.components.drawings import panel
from dashboard.components.states import backend_needed, empty, start_a_job
from dashboard.plain_text import in_markdown
from dashboard.words import differences, job_name, variant, with_error
from fedmem.contracts import Job, ModelVersion
from fedmem.contracts.traffic import DIRECTIONS, bytes_of_training

SHOWN = ("HR@10", "NDCG@10")
SPLITS = {"validation": "Val.", "test": "Test"}  # the table is wide
LADDER = (
    "centralised SASRec",
    "FedAvg-SASRec",
    "FedMem-NoMemory",
    "FedMem-NoProto",
    "FedMem-NoContrast",
    "FedMem-Full",
)


def experiments() -> None:
    """Show the table of the runs that were tested, by data set."""
    st.title("Experiments")
    with backend_needed():
        tested = {model.job_id: model for model in client().models().models if "test" in model.metrics}
        page = client().jobs(LIMIT)
        runs = [job for job in page.jobs if job.id in tested]
        if not runs:
            empty(
                "No run has been tested yet",
                "A run is tested on the held-out last items when it ends. Queue experiments on the Training page "
                "(Purpose: Experiment), or the whole ladder: `fedmem ablate`.",
                ":material/science:",
            )
            start_a_job()
            return
        for dataset in dict.fromkeys(job.dataset for job in runs):
            _table(dataset, sorted((job for job in runs if job.dataset == dataset), key=_rung), tested)
        if page.next is not None:
            st.caption(f"Of the newest {LIMIT} jobs.")


def _rung(job: Job) -> tuple[int, int]:
    name = variant(job.config)
    return (LADDER.index(name) if name in LADDER else len(LADDER), job.id)


def _table(dataset: str, runs: Sequence[Job], tested: Mapping[int, ModelVersion]) -> None:
    st.subheader(f"On {in_markdown(dataset)}", anchor=False)
    rows = [_figures(job, tested[job.id]) for job in runs]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")
    st.caption(
        "Mean ± standard error over users on the validation (Val.) and test items; the whole catalogue is ranked, seen "
        "items left out. Round: best / last. KB down / up: of a client that trains, in the last round, which gets no "
        "table of transitions."
    )
    for place, metric in zip(st.columns(len(SHOWN)), SHOWN, strict=True):
        results = [
            Result(job_name(job), table[metric], table.get(f"{metric}_se", 0.0))
            for job in runs
            for table in [tested[job.id].metrics["test"]]
            if metric in table
        ]
        with place:
            panel(f"Test {metric}", results_chart(results, metric), f"experiments-{dataset}-{metric}")
    _apart(runs)


def _figures(job: Job, model: ModelVersion) -> dict[str, str]:
    measured = {
        f"{short} {metric}": with_error(model.metrics.get(split, {}), metric)
        for split, short in SPLITS.items()
        for metric in SHOWN
    }
    rounds = {"Round": f"{model.round} / {job.round}"}
    return {"Run": variant(job.config), "Job": str(job.id), **measured, **rounds, **_cost(job)}


def _cost(job: Job) -> dict[str, str]:
    try:
        last = round_book().last(job)
    except BackendError:
        return {}
    down, up = (bytes_of_training(last.metrics if last else {}, direction) for direction in DIRECTIONS)
    seconds = (job.finished_at - job.started_at).total_seconds() if job.finished_at and job.started_at else 0.0
    return {"KB down / up": f"{down / 1e3:,.1f} / {up / 1e3:,.1f}", "Minutes": f"{seconds / 60:.1f}"}


def _apart(runs: Sequence[Job]) -> None:
    """Show what sets each run apart from the newest Full one."""
    full = next((job for job in reversed(runs) if variant(job.config) == "FedMem-Full"), None)
    others = [job for job in runs if full is not None and job.id != full.id]
    if full is None or not others:
        return
    st.markdown(f"**What differs from job {full.id}, FedMem-Full**")
    for job in others:
        found = differences([full.config, job.config])
        words = ", ".join(
            f"`{name}` {in_markdown(values[1])} instead of {in_markdown(values[0])}" for name, values in found.items()
        )
        st.markdown(f"- {job_name(job)}: {words or 'nothing'}")


if __name__ == "__main__":
    experiments()
