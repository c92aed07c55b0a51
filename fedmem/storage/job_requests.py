"""Requests for jobs: what may be queued, and that a retry queues nothing twice. Inside the caller's transaction."""

import hashlib
import json
from typing import Any

from sqlalchemy import Connection

from fedmem.config_reader import validate_config
from fedmem.contracts.jobs import SnapshotChoice
from fedmem.errors import ConflictError
from fedmem.resumable import check_continuable
from fedmem.storage.datasets import dataset_repeats, find_dataset, lock_dataset
from fedmem.storage.erasures import inherit
from fedmem.storage.job_removal import next_job_id
from fedmem.storage.job_rows import JobRow, job_row, select_jobs
from fedmem.storage.job_states import ENDED
from fedmem.storage.schema import jobs


def request_digest(request: list[Any]) -> str:
    """Compute a digest that tells one request from another."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, allow_nan=False).encode()).hexdigest()


def earlier_job(connection: Connection, key: str | None, digest: str) -> JobRow | None:
    """Find the job that the same request with the same idempotency key queued earlier.

    Raises:
        ConflictError: if the key came with another request.
    """
    if key is None:
        return None
    row = connection.execute(select_jobs().where(jobs.c.idempotency_key == key)).mappings().one_or_none()
    if row is None:
        return None
    if row["request_digest"] != digest:
        raise ConflictError(
            f"Idempotency-Key {key!r} came before with another request (job {row['id']}); use a new key"
        )
    return JobRow(**row)


def with_repeats_of(connection: Connection, dataset: str, config: dict[str, Any]) -> dict[str, Any]:
    """Set ``data.repeats`` to the data set's value; leave the configuration as it is if no import has given one."""
    repeats = dataset_repeats(connection, find_dataset(connection, dataset))
    return config if repeats is None else {**config, "data": {**config["data"], "repeats": repeats}}


def insert_job(connection: Connection, dataset: str, values: dict[str, Any], now: float) -> JobRow:
    """Queue a job.

    Raises:
        UnknownDatasetError, UnknownJobError: if the data set or the job to start from is not there.
        ConflictError: if that job cannot be continued.
        ConfigError: if it cannot be with this configuration.
    """
    dataset_id, start_from = find_dataset(connection, dataset), values["start_from"]
    if start_from is not None:
        parent = job_row(connection, start_from)
        _must_be_continuable(parent, dataset, values["num_rounds"], values["snapshot"])
        _must_fit(parent, values)
    fresh = {"dataset_id": dataset_id, "state": "queued", "desired_state": "running", "created_at": now}
    number = next_job_id(connection)
    if number is not None:
        values = {**values, "id": number}
    job_id = connection.scalar(jobs.insert().values(**values, **fresh).returning(jobs.c.id))
    assert job_id is not None
    if start_from is not None:
        lock_dataset(connection, dataset)  # a deletion at this moment is seen here, or sees this job
        inherit(connection, job_id, start_from)
    return job_row(connection, job_id)


def _must_fit(parent: JobRow, values: dict[str, Any]) -> None:
    """Refuse what the job's trainer would refuse, which reads the same of the checkpoints once it has claimed it."""
    old = validate_config(parent.config, f"the configuration of job {parent.id}")
    new = validate_config(values["config"], "the job's configuration")
    check_continuable(old, new, parent.id, newest=values["snapshot"] == "newest")


def _must_be_continuable(job: JobRow, dataset: str, num_rounds: int, snapshot: SnapshotChoice) -> None:
    if job.state not in ENDED:
        raise ConflictError(
            f"job {job.id} is {job.state} and cannot be continued by another; stop it, or wait for its end"
        )
    if job.dataset != dataset:
        raise ConflictError(
            f"job {job.id} was trained on data set {job.dataset!r} and cannot be continued on {dataset!r}"
        )
    if job.round == 0:
        raise ConflictError(
            f"job {job.id} has finished no round, so there is nothing to continue; leave start_from out"
        )
    reached = job.model_round if snapshot == "newest" else job.round
    if reached >= num_rounds:
        what = f"the best model of job {job.id} is of round" if snapshot == "newest" else f"job {job.id} has trained"
        raise ConflictError(
            f"{what} {reached}{'' if snapshot == 'newest' else ' rounds already'}; ask for more than that in "
            f"federated.num_rounds, which is {num_rounds}"
        )
