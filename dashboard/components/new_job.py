"""The configuration of a new training job, and its start."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args
from uuid import uuid4

import streamlit as st

from dashboard.components.connection import client
from dashboard.components.job_choice import choose, known_jobs
from dashboard.components.new_job_fields import (
    EXPERT_FIELDS,
    EXPERT_SWITCHES,
    EXPERTS,
    FIELDS,
    ROUNDS,
    TRANSITIONS,
    Field,
    changed,
    value_at,
)
from dashboard.plain_text import in_markdown
from dashboard.transport import BackendAwayError, BackendError
from dashboard.words import job_name
from fedmem.config import ExperimentConfig
from fedmem.config_reader import merged, validate_config
from fedmem.contracts import Job, JobRequest
from fedmem.contracts.jobs import PromotionMode, SnapshotChoice
from fedmem.errors import ConfigError
from fedmem.privacy.cost import planned
from fedmem.strict_yaml import parse_yaml

_KEY, _TROUBLE = "new-job-key", "new-job-trouble"
DEFAULTS = "The defaults"

PURPOSES = {
    "training": "Serve it when it is done, as the trainer's setting says",
    "gate": "Serve it if it is not worse",
    "auto": "Serve it in any case",
    "manual": "Keep it ready, to be put into service by hand",
    "experiment": "Experiment: compare it only",
}
SNAPSHOTS: dict[SnapshotChoice, str] = {
    "newest": "The newest: its best model goes on with what came since",
    "same": "The same as that job's: its last round is followed by more",
}


def new_job() -> None:
    """Show the form; when the job is queued, the pages speak of it."""
    with st.container(border=True):
        st.markdown("#### New training job")
        names = [dataset.name for dataset in client().datasets().datasets]
        if not names:
            st.info("There is no data set yet. Import one: `fedmem data import PATH`, or the demo: `fedmem up`.")
            st.button("Cancel", key="cancel-job", on_click=_close)
            return
        base, dataset, kind, parent = _frame(names)
        beginning: dict[str, Any] = {} if parent is None else {"start_from": parent.id, "snapshot": _snapshot()}
        values = _settings(base, 1 if parent is None else _reached(parent, beginning["snapshot"]) + 1)
        _cost(values)
        with st.container(horizontal=True):
            if st.button("Start the job", type="primary", icon=":material/play_arrow:", key="start-job"):
                _start(values, dataset, kind, beginning)
            st.button("Cancel", key="cancel-job", on_click=_close)
        if _TROUBLE in st.session_state:  # in every run, for news of a job may draw the page anew at any time
            st.error(in_markdown(st.session_state[_TROUBLE]), icon=":material/error:")


def is_wanted() -> bool:
    """Say whether the reader is about to start a job; the URL says so."""
    return st.query_params.get("new") == "1"


def open_form() -> None:
    """Show the form from the next run on."""
    st.query_params["new"] = "1"
    _forget()


def _close() -> None:
    st.query_params.pop("new", None)
    _forget()


def _forget() -> None:
    st.session_state.pop(_KEY, None)
    st.session_state.pop(_TROUBLE, None)


def _frame(names: Sequence[str]) -> tuple[ExperimentConfig, str, str, Job | None]:
    """Ask for data set, purpose, and what the settings and the weights start from."""
    jobs = known_jobs()
    first, second = st.columns(2), st.columns(2)
    newest = next((jobs[0].dataset for _ in jobs[:1] if jobs[0].dataset in names), names[0])
    dataset = first[0].selectbox("Data set", names, index=names.index(newest), key="new-dataset")
    kind = first[1].selectbox(
        "Purpose",
        list(PURPOSES),
        key="new-kind",
        format_func=PURPOSES.__getitem__,
        help="Not worse: on the newest data, by validation NDCG@10, than the model that serves, and better than "
        "popularity. The setting is FEDMEM_PROMOTION, which is so unless it was changed.",
    )
    by_id = {job.id: job for job in jobs if job.dataset == dataset}
    start_from = second[1].selectbox(
        "Model starts from",
        [None, *(job.id for job in by_id.values() if _has_checkpoint(job))],
        key=f"new-start-{dataset}",
        format_func=lambda number: "Nothing, a new model" if number is None else f"Job {number}",
        help="A job that continues another one needs the same settings and more rounds.",
    )
    base = second[0].selectbox(
        "Settings start from",
        [*by_id, None],
        key=f"new-base-{dataset}",
        format_func=lambda number: DEFAULTS if number is None else job_name(by_id[number]),
        disabled=start_from is not None,
        help="Those of the job that the model starts from, where it starts from one. The defaults are FedMem's, or "
        "what FEDMEM_JOB_CONFIG and the data set's import say instead.",
    )
    chosen = start_from or base
    config = client().job_defaults(dataset).config if chosen is None else by_id[chosen].config
    return config, dataset, kind, None if start_from is None else by_id[start_from]


def _snapshot() -> SnapshotChoice:
    """Ask which data a job that continues another trains on."""
    return st.selectbox(
        "Data",
        list(SNAPSHOTS),
        key="new-snapshot",
        format_func=SNAPSHOTS.__getitem__,
        help="With the newest data the model is validated before the first round, and stays the best where no round is "
        "better. With the same data the numbers are those of one longer job.",
    )


def _reached(parent: Job, snapshot: SnapshotChoice) -> int:
    """Tell how many rounds a job has behind it that continues another."""
    return (parent.best_round or parent.round) if snapshot == "newest" else parent.round


def _has_checkpoint(job: Job) -> bool:
    return job.state in ("stopped", "succeeded", "failed") and job.round > 0


def _settings(base: ExperimentConfig, least_rounds: int) -> dict[str, Any]:
    """Ask for changes, and apply them to the base."""
    tree = base.model_dump(mode="json")
    tree["federated"]["num_rounds"] = max(least_rounds, tree["federated"]["num_rounds"])
    mark = hash(str(tree)) % 10**8  # another base, other values in the fields
    changes = _numbers(FIELDS, tree, mark, least_rounds)
    st.markdown("Parts of the method")
    changes |= _switches((TRANSITIONS, EXPERTS), tree, mark)
    idle = changes[EXPERTS[0]]
    changes |= _switches(EXPERT_SWITCHES, tree, mark, idle=idle)
    changes |= _numbers(EXPERT_FIELDS, tree, mark, least_rounds, idle=idle)
    with st.expander("Further settings"):
        text = st.text_area(
            "As YAML, only what differs",
            key=f"new-yaml-{mark}",
            placeholder="model:\n  max_seq_len: 200\nevaluation:\n  eval_every: 5",
            height=140,
            help="`fedmem config show` lists every setting with its meaning.",
        )
    return {"tree": changed(tree, changes), "yaml": text}


def _numbers(
    fields: Sequence[Field], tree: Mapping[str, Any], mark: int, least_rounds: int, *, idle: bool = False
) -> dict[str, Any]:
    columns = st.columns(3)
    found = {}
    for index, field in enumerate(fields):
        least = least_rounds if field.path == ROUNDS else field.least
        key = f"new-{field.path}-{mark}"
        found[field.path] = _number(columns[index % 3], field, value_at(tree, field.path), least, key, idle=idle)
    return found


def _switches(
    switches: Sequence[tuple[str, str, str]], tree: Mapping[str, Any], mark: int, *, idle: bool = False
) -> dict[str, bool]:
    """Ask which parts are on; return their ablation switches, which say the opposite."""
    places = st.columns(3)
    found = {}
    for index, (path, label, help_text) in enumerate(switches):
        value, key = not value_at(tree, path), f"new-{path}-{mark}"
        found[path] = not places[index].toggle(label, value=value, key=key, help=help_text, disabled=idle)
    return found


def _number(place: Any, field: Field, value: Any, least: float, key: str, *, idle: bool) -> Any:
    return place.number_input(
        field.label,
        value=value,
        min_value=min(least, value),  # which a job's own settings may be below
        max_value=field.most,
        step=field.step,
        format=field.format,
        key=key,
        help=field.meaning,
        disabled=idle,
    )


def _start(values: dict[str, Any], dataset: str, kind: Any, beginning: dict[str, Any]) -> None:
    try:
        config = validate_config(_with_yaml(values), "the settings")
        promotion = kind if kind in get_args(PromotionMode) else None
        purpose: dict[str, Any] = {"kind": kind if promotion is None else "training", "promotion": promotion}
        request = JobRequest(dataset=dataset, config=config, **beginning, **purpose)
        # One key for one form: a second click does not make a second job.
        job = client().create_job(request, st.session_state.setdefault(_KEY, uuid4().hex))
    except (ConfigError, BackendError) as error:
        if not isinstance(error, BackendAwayError):  # which may have taken the job all the same: the key stays
            st.session_state.pop(_KEY, None)
        st.session_state[_TROUBLE] = str(error)
        return
    _close()
    choose(job.id)
    st.rerun()


def _cost(values: dict[str, Any]) -> None:
    """Say what the job will cost a user; of settings that are refused, nothing until they are sent."""
    try:
        cost = planned(validate_config(_with_yaml(values), "the settings"))
    except ConfigError:
        return
    if cost is None:
        st.caption("Privacy: nothing gets noise, so that no ε bounds what the job gives away.")
        return
    st.caption(
        f"Privacy: the job will spend ε = {cost.epsilon:.3g}, δ = {cost.delta:g} for a user, on "
        f"{' and '.join(cost.protected)} alone.{'' if 'metrics' in cost.protected else ' Metrics are not protected.'}"
    )


def _with_yaml(values: dict[str, Any]) -> dict[str, Any]:
    further = parse_yaml(values["yaml"] or "", "the further settings") or {}
    if not isinstance(further, dict):
        raise ConfigError(
            f"the further settings are {further!r}; write sections and keys, as fedmem config show --yaml prints them"
        )
    return merged(values["tree"], further)
