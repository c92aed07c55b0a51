"""What a trainer writes to its job, each under its lease's token and inside the caller's transaction."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, literal, select

from fedmem.contracts.jobs import LogLevel, Split
from fedmem.errors import ConflictError
from fedmem.storage.ab_rows import running_test, why_wait
from fedmem.storage.job_rows import Lease, RoundResult, Verdict, add_log
from fedmem.storage.job_states import EndState
from fedmem.storage.leases import FREE, fenced_update, held_job
from fedmem.storage.models import activate_model, active_version, add_model
from fedmem.storage.schema import jobs, metrics, models, prototypes, rounds


def check_numbers(table: Mapping[Split, Mapping[str, float]]) -> None:
    """Refuse NaN and infinity, so that they never reach the database.

    Raises:
        ValueError: if a metric is NaN or infinite.
    """
    for split, values in table.items():
        for name, value in values.items():
            if not math.isfinite(value):
                raise ValueError(f"metric {name} of split {split} is {value}, which is no finite number")


def begin(connection: Connection, lease: Lease, snapshot_digest: str, last_interaction_id: int | None) -> None:
    """Name the snapshot that a job trains on; once there is a round it is that of the first attempt for good.

    Raises:
        ConflictError: if rounds were trained on another snapshot.
    """
    job, last = held_job(connection, lease), _last_round(connection, lease.job_id)
    if last == 0 and job.snapshot_digest != snapshot_digest:  # a user was deleted meanwhile: nothing was trained yet
        for table in (metrics, rounds):
            connection.execute(table.delete().where(table.c.job_id == job.id))
    elif last is not None and job.snapshot_digest != snapshot_digest:
        raise ConflictError(
            f"job {job.id} has trained on snapshot {job.snapshot_digest} and cannot go on with {snapshot_digest}"
        )
    values = {"snapshot_digest": snapshot_digest, "last_interaction_id": last_interaction_id}
    connection.execute(jobs.update().where(jobs.c.id == job.id).values(**values))


def inherit(connection: Connection, lease: Lease, parent: int) -> None:
    """Take over what another job has recorded of its rounds, up to the last: this job goes on from there.

    Of the checkpoints only the last and the best are named, which are the ones that are copied. Done again, it changes
    nothing.

    Raises:
        LeaseLostError: if the lease no longer holds.
    """
    job = held_job(connection, lease)
    if _last_round(connection, job.id) is not None:
        return
    of = connection.execute(jobs.select().where(jobs.c.id == parent)).one()
    for table in (rounds, metrics, prototypes):
        columns = [column for column in table.c if column.name != "job_id"]
        rows = select(literal(job.id), *columns).where(table.c.job_id == parent, table.c.round <= of.round)
        if table is metrics:
            rows = rows.where(metrics.c.split != "test")  # which was the parent's own
        connection.execute(table.insert().from_select(["job_id", *(column.name for column in columns)], rows))
    copied = [number for number in (of.round, of.best_round) if number is not None]
    connection.execute(
        rounds.update().where(rounds.c.job_id == job.id, rounds.c.round.not_in(copied)).values(checkpoint=None)
    )
    names = ("snapshot_digest", "last_interaction_id", "round", "best_round")
    values = {name: getattr(of, name) for name in names}
    connection.execute(jobs.update().where(jobs.c.id == job.id).values(**values))


def commit_round(connection: Connection, lease: Lease, result: RoundResult, now: float) -> None:
    """Commit one round: its row, its metrics, its prototypes and the job's progress.

    Raises:
        LeaseLostError: if the lease no longer holds.
        ConflictError: if the round is there already, or does not follow the last.
    """
    best = {"best_round": result.round} if result.is_best else {}
    progress = {"round": result.round, "clients_done": 0, "clients_selected": 0}
    if result.round > 0:  # the start is no progress: a trainer may die after it again and again
        progress["attempts_without_progress"] = 0
    job = fenced_update(connection, lease, **progress, **best)
    _must_follow(result.round, _last_round(connection, job.id), job)
    key = {"job_id": job.id, "round": result.round}
    values = {"token": lease.token, "finished_at": now, "is_best": result.is_best, "checkpoint": result.checkpoint}
    connection.execute(rounds.insert().values(**key, **values))
    _add_metrics(connection, key, result.metrics)
    if result.prototypes is not None:
        stored = {"arrays": result.prototypes.arrays, "description": result.prototypes.description}
        connection.execute(prototypes.insert().values(**key, **stored))


def end(
    connection: Connection, lease: Lease, state: EndState, message: str | None, traceback: str | None, now: float
) -> Row[Any]:
    """End the job, with a sentence for the user and the traceback for the operator; return the ended row.

    Raises:
        LeaseLostError: if the lease no longer holds.
        ConflictError: if it ends as stopped though its user did not ask for that.
    """
    values = FREE | {"state": state, "finished_at": now, "message": message, "traceback": traceback}
    job = fenced_update(connection, lease, **values)
    if state == "stopped" and job.desired_state != "stopped":
        raise ConflictError(f"job {job.id} was not asked to stop; it is wanted {job.desired_state}")
    level: LogLevel = "ERROR" if state == "failed" else "INFO"
    add_log(connection, job.id, level, f"{state} after round {job.round}" + (f": {message}" if message else ""), now)
    return job


def add_test_metrics(connection: Connection, job_id: int, round: int, test: Mapping[str, float]) -> None:
    """Add the test result, measured once with the model of one round."""
    _add_metrics(connection, {"job_id": job_id, "round": round}, {"test": test})


def leave(connection: Connection, job: Row[Any], round: int, verdict: Verdict, now: float) -> None:
    """Record the model that a job leaves and, by the verdict, put it into service or let it wait."""
    assert not (verdict.serve and job.kind == "experiment"), "an experiment never puts its model into service"
    changed = verdict.serve and verdict.is_outdated_by(active_version(connection, job.dataset_id))
    if changed:
        verdict = Verdict(False, "another model went into service while it was compared with the one before")
        add_log(connection, job.id, "WARNING", f"the model waits, ready: {verdict.reason}", now)
    elif verdict.serve and (test := running_test(connection, job.dataset_id)) is not None:
        verdict = Verdict(False, why_wait(test))
        add_log(connection, job.id, "WARNING", f"the model waits, ready: {verdict.reason}", now)
    version = add_model(connection, job.id, round, now, None if verdict.serve else verdict.reason)
    if verdict.serve:
        activate_model(connection, version, verdict.reason or f"job {job.id} {job.state}", now)


def forget_checkpoints(connection: Connection, lease: Lease, numbers: Sequence[int]) -> list[int]:
    """Take rounds' checkpoints out of the record; those a model needs stay. The rounds whose folders may go.

    Raises:
        LeaseLostError: if the lease no longer holds.
    """
    job = held_job(connection, lease)
    needed = select(models.c.round).where(models.c.job_id == job.id)
    statement = (
        rounds.update()
        .where(rounds.c.job_id == job.id, rounds.c.round.in_(numbers), rounds.c.round.not_in(needed))
        .values(checkpoint=None)
        .returning(rounds.c.round)
    )
    return sorted(connection.scalars(statement))


def _last_round(connection: Connection, job_id: int) -> int | None:
    last: int | None = connection.scalar(select(func.max(rounds.c.round)).where(rounds.c.job_id == job_id))
    return last


def _must_follow(number: int, last: int | None, job: Row[Any]) -> None:
    if last is not None and number <= last:
        raise ConflictError(f"round {number} of job {job.id} is there already (the last is {last})")
    # The first row is that of the start, round 0; a job that continues another has inherited that one's rows or, with
    # newer data, begins with the round of that one's model.
    starts = last is None and number == 0
    starts |= last == 0 and job.start_from is not None and job.snapshot == "newest"
    if not starts and number != (last or 0) + 1:
        raise ConflictError(f"round {number} of job {job.id} leaves a gap: the last is {last or 0}")


def _add_metrics(connection: Connection, key: Mapping[str, int], table: Mapping[Split, Mapping[str, float]]) -> None:
    rows = [
        {**key, "split": split, "name": name, "value": float(value)}
        for split, values in table.items()
        for name, value in values.items()
    ]
    if rows:
        connection.execute(metrics.insert(), rows)
