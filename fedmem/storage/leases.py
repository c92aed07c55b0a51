"""Who trains a job: claims, leases and the fencing token, inside the caller's transaction.

A lease that ran out is no more than an invitation to others: its holder may write until another trainer has claimed
the job, which raises the token. From then on whatever the first one writes is refused.

Clocks may be set back or differ. So a trainer counts as dead too if its lease stood unchanged for as long as it lasts,
by the monotonic clock of another that wants the job: a trainer that lives renews it three times meanwhile. On
PostgreSQL the time of a lease is the database's, so that all trainers have one clock.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, func, or_, select

from fedmem.contracts.jobs import DesiredState, JobState
from fedmem.errors import LeaseLostError
from fedmem.storage.job_rows import Lease, add_log
from fedmem.storage.job_states import AT_REST
from fedmem.storage.models import leave_model
from fedmem.storage.schema import jobs

Held = tuple[int, int, float]
Silent = Collection[Held]
FREE = {"worker": None, "lease_expires_at": None, "clients_done": 0, "clients_selected": 0}


def anything_to_claim(connection: Connection, max_attempts: int, now: float, silent: Silent = ()) -> bool:
    """Say whether a claim would find a job, without any lock, because an idle trainer asks often."""
    return connection.execute(_claimable(now, max_attempts, silent)).first() is not None


def held(connection: Connection) -> list[Held]:
    """List every lease that a trainer holds: job, token, end."""
    rows = connection.execute(select(jobs.c.id, jobs.c.token, jobs.c.lease_expires_at).where(jobs.c.state == "running"))
    return [(row.id, row.token, row.lease_expires_at) for row in rows]


def database_time(connection: Connection) -> float | None:
    """Return the seconds since 1970 by the database's own clock; None for SQLite, which has none of its own."""
    if connection.dialect.name != "postgresql":
        return None
    return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())


def claim(
    connection: Connection,
    worker: str,
    lease_seconds: float,
    max_attempts: int,
    now: float,
    silent: Silent = (),
) -> Lease | None:
    """Lease the oldest job that waits for a trainer to this one.

    A job whose trainer died is settled as its user wished, or failed if that happened ``max_attempts`` times without
    a round in between, and the search goes on.
    """
    wanted = _claimable(now, max_attempts, silent).with_for_update(skip_locked=True)
    while (job := connection.execute(wanted).first()) is not None:
        if job.desired_state != "running":
            settle(connection, job, now)
        elif job.attempts_without_progress >= max_attempts:
            _give_up(connection, job, now)
        else:
            return _take(connection, job, worker, lease_seconds, now)
    return None


def fenced_update(connection: Connection, lease: Lease, **values: Any) -> Row[Any]:
    """Change the job of a lease; the changed row.

    Raises:
        LeaseLostError: if the lease no longer holds; then nothing of the transaction may stand.
    """
    row = connection.execute(jobs.update().where(_held(lease)).values(**values).returning(*jobs.c)).one_or_none()
    return _must_be_held(row, lease)


def held_job(connection: Connection, lease: Lease) -> Row[Any]:
    """Return the job of a lease, locked until the transaction's end.

    Raises:
        LeaseLostError: if the lease no longer holds.
    """
    return _must_be_held(connection.execute(select(jobs).where(_held(lease)).with_for_update()).one_or_none(), lease)


def desired_state(connection: Connection, lease: Lease) -> DesiredState:
    """Return what the user of the lease's job wants of it; no lock is taken.

    Raises:
        LeaseLostError: if the lease no longer holds.
    """
    row = connection.execute(select(jobs).where(_held(lease))).one_or_none()
    desired: DesiredState = _must_be_held(row, lease).desired_state
    return desired


def let_go(connection: Connection, lease: Lease, now: float) -> JobState:
    """Give a job back unharmed: queued, paused or stopped as its user wishes. The attempt does not count against it.

    Raises:
        LeaseLostError: if the lease no longer holds.
    """
    job = held_job(connection, lease)
    return settle(connection, job, now, attempts_without_progress=max(0, job.attempts_without_progress - 1))


def hold(connection: Connection, lease: Lease, message: str, now: float) -> JobState:
    """Give a job back that cannot go on for now: it waits, as paused, until its user resumes it; the message says why.

    Raises:
        LeaseLostError: if the lease no longer holds.
    """
    job = held_job(connection, lease)
    wanted: DesiredState = "paused" if job.desired_state == "running" else job.desired_state
    connection.execute(jobs.update().where(jobs.c.id == job.id).values(desired_state=wanted, message=message))
    add_log(connection, job.id, "ERROR", message, now)
    return let_go(connection, lease, now)


def settle(connection: Connection, job: Row[Any], now: float, **values: Any) -> JobState:
    """Bring a job that no trainer holds any more to rest, as its user wishes."""
    state = AT_REST[job.desired_state]
    finished = {"finished_at": now} if state == "stopped" else {}
    connection.execute(jobs.update().where(jobs.c.id == job.id).values(state=state, **FREE, **finished, **values))
    if state == "stopped":
        # Its best round's, or its last where none was validated.
        leave_model(connection, job.id, job.best_round or job.round, now)
    add_log(connection, job.id, "INFO", f"{state} after round {job.round}", now)
    return state


def _claimable(now: float, max_attempts: int, silent: Silent) -> Select[Any]:
    """Select the job to take: the oldest, but those that trainers died of without a round between after all others.

    First of all come those that are not taken but settled: their users wait for that.
    """
    unheard = [
        and_(jobs.c.id == job, jobs.c.token == token, jobs.c.lease_expires_at == end) for job, token, end in silent
    ]
    dead = and_(jobs.c.state == "running", or_(jobs.c.lease_expires_at < now, *unheard))
    settled = or_(jobs.c.desired_state != "running", jobs.c.attempts_without_progress >= max_attempts)
    order = (case((settled, 0), else_=1), jobs.c.attempts_without_progress, jobs.c.id)
    return select(jobs).where(or_(jobs.c.state == "queued", dead)).order_by(*order).limit(1)


def _take(connection: Connection, job: Row[Any], worker: str, lease_seconds: float, now: float) -> Lease:
    token, attempts = job.token + 1, job.attempts + 1
    changes = {
        "state": "running",
        "token": token,
        "attempts": attempts,
        "attempts_without_progress": job.attempts_without_progress + 1,
        "started_at": now if job.started_at is None else job.started_at,
    }
    values = FREE | changes | {"worker": worker, "lease_expires_at": now + lease_seconds}
    connection.execute(jobs.update().where(jobs.c.id == job.id).values(**values))
    if job.state == "running":
        add_log(connection, job.id, "WARNING", f"trainer {job.worker} was not heard of any more", now)
    add_log(
        connection, job.id, "INFO", f"taken up by trainer {worker} after round {job.round}, attempt {attempts}", now
    )
    return Lease(job.id, token, worker)


def _give_up(connection: Connection, job: Row[Any], now: float) -> None:
    times = "once" if job.attempts_without_progress == 1 else f"{job.attempts_without_progress} times"
    message = f"the trainer died {times} without finishing a round; see the log"
    values = FREE | {"state": "failed", "finished_at": now, "message": message}
    connection.execute(jobs.update().where(jobs.c.id == job.id).values(**values))
    add_log(connection, job.id, "ERROR", message, now)


def _held(lease: Lease) -> ColumnElement[bool]:
    return and_(jobs.c.id == lease.job_id, jobs.c.token == lease.token, jobs.c.state == "running")


def _must_be_held(row: Row[Any] | None, lease: Lease) -> Row[Any]:
    if row is None:
        raise LeaseLostError(
            f"trainer {lease.worker} no longer holds job {lease.job_id} (token {lease.token}): "
            "another has taken it over, or it has ended. Nothing was written."
        )
    return row
