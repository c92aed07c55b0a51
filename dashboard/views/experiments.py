"""Experiments: finished jobs side by side with what sets them apart, and what the command line has found."""

from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard.charts.experiments import Result, results_chart
from dashboard.charts.training import BASELINES, baselines
from dashboard.client import LIMIT
from dashboard.comparisons import comparable, compare_jobs, why_not
from dashboard.components.connection import client, round_book
from dashboard.components.drawings import panel
from dashboard.components.one_experiment import SHOWN, one_experiment
from dashboard.components.states import backend_needed, empty, start_a_job
from dashboard.components.tables import words_table
from dashboard.plain_text import in_markdown
from dashboard.rounds import Rounds
from dashboard.transport import BackendError
from dashboard.words import as_sentence, difference, job_name, shown_value, with_error
from fedmem.contracts import ExperimentSummary, Job, ModelVersion
from fedmem.contracts.traffic import DIRECTIONS, bytes_of_training
from fedmem.rungs import RUNGS, model_title

COMMIT = 10  # letters of it that are shown
_URL = "experiment"
SPLITS = {"validation": "Val.", "test": "Test"}  # the table is wide
METRIC = "NDCG@10"  # what training goes by
ABOVE = "Minus baseline"
BEFORE = (
    "Baselines are measured when a job begins, on validation only, so that they have no test figures; these are of job "
    f"{{}}. {ABOVE}: a job's Val. {METRIC} minus that of the best baseline when it began. `fedmem ablate` "
    "tests baselines too, and tells which differences are real."
)
LADDER = [name for rung in RUNGS for name in (rung.without, rung.title) if name]


def experiments() -> None:
    """Show the table of the jobs that were tested, by data set, and an experiment of the command line."""
    st.title("Experiments")
    with backend_needed():
        _jobs()
        _of_the_command_line()


def _jobs() -> None:
    tested = {model.job_id: model for model in client().models().models if "test" in model.metrics}
    page = client().jobs(LIMIT)
    runs = [job for job in page.jobs if job.id in tested]
    if not runs:
        empty(
            "No job has been tested yet",
            "A job is tested on the held-out last items when it ends. Queue experiments on the Training page "
            "(Purpose: Experiment).",
            ":material/science:",
        )
        start_a_job()
        return
    st.caption(
        "Mean ± standard error over users on the validation (Val.) and test items; the whole catalogue is ranked, seen "
        "items left out. Round: best / last. KB down / up: of a client that trains, in the last round, which gets no "
        "table of transitions."
    )
    for dataset in dict.fromkeys(job.dataset for job in runs):
        _dataset(dataset, sorted((job for job in runs if job.dataset == dataset), key=_rung), tested)
    if page.next is not None:
        st.caption(f"Of the newest {LIMIT} jobs.")


def _of_the_command_line() -> None:
    """List the experiments, and show the one that the reader picks."""
    page = client().experiments()
    st.subheader("Of the command line", anchor=False)
    if not page.experiments:
        empty(
            "No ablation and no search yet",
            "`fedmem ablate --data PATH --name ladder` trains the ladder and shows here which differences are real; "
            "`fedmem tune --data PATH --name search` searches for better settings.",
            ":material/experiment:",
        )
        return
    words_table([_listed(one) for one in page.experiments])
    if page.left_out:
        st.caption(f"{page.left_out:,} older ones are left out.")
    one_experiment(client().experiment(_picked([each.name for each in page.experiments])))


def _listed(one: ExperimentSummary) -> dict[str, str]:
    return {
        "Name": one.name,
        "Kind": one.kind or "–",
        "Data set": one.dataset or "–",
        "State": one.state,
        "Made on": str(one.made_on or "–"),
        "Commit": (one.commit or "–")[:COMMIT],
    }


def _picked(names: Sequence[str]) -> str:
    """Ask which one; it is in the address unless it is the first."""
    given = st.query_params.get(_URL)
    chosen = st.selectbox("Experiment", names, index=names.index(given) if given in names else 0, key=_URL)
    if chosen == names[0]:
        st.query_params.pop(_URL, None)
    else:
        st.query_params[_URL] = chosen
    return chosen


def _rung(job: Job) -> tuple[int, int]:
    name = model_title(job.config)
    return (LADDER.index(name) if name in LADDER else len(LADDER), job.id)


def _dataset(dataset: str, runs: Sequence[Job], tested: Mapping[int, ModelVersion]) -> None:
    """Show a table of those runs whose figures compare, and one more for others."""
    first, *others = comparable(runs)
    st.subheader(f"On {in_markdown(dataset)}", anchor=False)
    _table(f"{dataset}-0", first, tested)
    for number, group in enumerate(others, 1):
        st.subheader(f"On {in_markdown(dataset)}, apart from the others", anchor=False)
        st.caption(in_markdown(as_sentence(why_not(first[0], group[0]))))
        _table(f"{dataset}-{number}", group, tested)


def _table(key: str, runs: Sequence[Job], tested: Mapping[int, ModelVersion]) -> None:
    starts = {job.id: _start(job) for job in runs}
    rows = [_figures(job, tested[job.id], starts[job.id]) for job in runs]
    measured = max((number for number, start in starts.items() if baselines(start, METRIC)), default=None)
    words_table(rows + ([] if measured is None else _baselines(starts[measured], rows)))
    if measured is not None:
        st.caption(BEFORE.format(measured))
    for place, metric in zip(st.columns(len(SHOWN)), SHOWN, strict=True):
        results = [
            Result(job_name(job), table[metric], table.get(f"{metric}_se", 0.0))
            for job in runs
            for table in [tested[job.id].metrics["test"]]
            if metric in table
        ]
        with place:
            panel(f"Test {metric}", results_chart(results, metric), f"experiments-{key}-{metric}")
    _apart(runs)


def _start(job: Job) -> Rounds:
    try:
        return round_book().first(job)
    except BackendError:
        return ()


def _baselines(start: Rounds, runs: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Make a row of each baseline, blank where none is measured."""
    table = start[0].metrics["validation"]
    return [
        dict.fromkeys((column for run in runs for column in run), "")
        | {"Run": as_sentence(BASELINES[name]), "Job": "baseline"}
        | {f"{SPLITS['validation']} {metric}": with_error(table, f"{name}_{metric}") for metric in SHOWN}
        for name in baselines(start, METRIC)
    ]


def _above(model: ModelVersion, start: Rounds) -> dict[str, str]:
    """Subtract the best baseline on validation, popularity among them, where both were measured."""
    levels, reached = baselines(start, METRIC), model.metrics.get("validation", {}).get(METRIC)
    if not levels or reached is None:
        return {ABOVE: "–"}
    return {ABOVE: difference(reached - max(levels.values()))}


def _figures(job: Job, model: ModelVersion, start: Rounds) -> dict[str, str]:
    validation, test = (
        {f"{short} {metric}": with_error(model.metrics.get(split, {}), metric) for metric in SHOWN}
        for split, short in SPLITS.items()
    )
    measured = {**validation, **_above(model, start), **test, "Round": f"{model.round} / {job.round}"}
    return {"Run": model_title(job.config), "Job": str(job.id), **measured, **_cost(job)}


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
    full = next((job for job in reversed(runs) if model_title(job.config) == "FedMem-Full"), None)
    others = [job for job in runs if full is not None and job.id != full.id]
    if full is None or not others:
        return
    st.markdown(f"**What differs from job {full.id}, FedMem-Full**")
    for job in others:
        words = ", ".join(
            f"`{name}` {in_markdown(shown_value(name, new))} instead of {in_markdown(shown_value(name, old))}"
            for name, (old, new) in compare_jobs([full, job]).differences.items()
        )
        st.markdown(f"- {job_name(job)}: {words or 'nothing'}")


if __name__ == "__main__":
    experiments()
