"""Jobs: queued by users, claimed by trainers, with every round they have done. Each method is one transaction."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import IntegrityError

from fedmem.contracts.jobs import DesiredState, JobKind, JobState, LogLevel, PromotionMode, SnapshotChoice
from fedmem.storage import leases, training_writes
from fedmem.storage.engine import reading, writing
from fedmem.storage.job_requests import earlier_job, insert_job, request_digest, with_repeats_of
from fedmem.storage.job_rows import (
    JobRow,
    Lease,
    LogRow,
    RoundResult,
    StoredPrototypes,
    TrainerRow,
    Verdict,
    add_log,
    job_row,
    select_jobs,
)
from fedmem.storage.job_states import EndState, Wish, after_wish
from fedmem.storage.lease_silence import Silence
from fedmem.storage.models import leave_model
from fedmem.storage.schema import datasets, erasures, jobs, logs, trainers

__all__ = ["JobRow", "JobStore", "Lease", "LogRow", "RoundResult", "StoredPrototypes", "TrainerRow", "Verdict"]

FORGET_TRAINERS_AFTER = 24 * 3600.0


class JobStore:
    """The jobs in a database: what users ask, what trainers write, what both may read.

    Every method may raise ``StorageError``; those that take a lease raise ``LeaseLostError``, and have written nothing,
    once another trainer holds the job.

    Args:
        engine: the database.
        clock: tells the time in seconds since 1970.
        monotonic: tells seconds that no setting of a clock changes.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self._silence = Silence(monotonic)

    def create(
        self,
        *,
        kind: JobKind,
        dataset: str,
        config: dict[str, Any],
        num_rounds: int,
        start_from: int | None = None,
        snapshot: SnapshotChoice = "newest",
        idempotency_key: str | None = None,
        repeats_of_dataset: bool = False,
        promotion: PromotionMode | None = None,
    ) -> tuple[JobRow, bool]:
        """Queue a job, and whether it is new: a key that came before with the same request answers the job of then.

        Args:
            kind: whether its model may go into service.
            dataset: the name of what it trains on.
            config: the configuration as JSON.
            num_rounds: the configuration's.
            start_from: the job that it continues.
            snapshot: what it trains on if it does: the newest data, or the same as that job.
            idempotency_key: names the request.
            repeats_of_dataset: whether ``data.repeats`` is what the data set's import has said of it, if it has.
            promotion: how its model goes into service; None leaves that to the trainer's setting.

        Raises:
            UnknownDatasetError: if no such data set was imported.
            UnknownJobError: if ``start_from`` is none.
            ConflictError: if the key came with another request, or ``start_from`` cannot be continued.
            ConfigError: if it cannot be with this configuration.
        """
        chosen = None if start_from is None else snapshot
        request = [kind, dataset, config, num_rounds, start_from, repeats_of_dataset]
        digest = request_digest([*request, *(said for said in (promotion, chosen) if said is not None)])
        values: dict[str, Any] = {"kind": kind, "config": config, "num_rounds": num_rounds}
        values |= {"start_from": start_from, "snapshot": chosen, "promotion": promotion}
        key = {"idempotency_key": idempotency_key, "request_digest": digest}
        try:
            with writing(self.engine) as connection:
                earlier = earlier_job(connection, idempotency_key, digest)
                if earlier is not None:
                    return earlier, False
                if repeats_of_dataset:
                    values["config"] = with_repeats_of(connection, dataset, config)
                return insert_job(connection, dataset, values | key, self.clock()), True
        except IntegrityError:
            # On PostgreSQL the same key may have come at the same moment.
            with reading(self.engine) as connection:
                earlier = earlier_job(connection, idempotency_key, digest)
            if earlier is None:
                raise
            return earlier, False

    def get(self, job_id: int) -> JobRow:
        """Return one job.

        Raises:
            UnknownJobError: if there is none of that number.
        """
        with reading(self.engine) as connection:
            return job_row(connection, job_id)

    def page(
        self,
        *,
        state: JobState | None = None,
        kind: JobKind | None = None,
        dataset: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[JobRow]:
        """List jobs, newest first, older than job ``before``; each filter that is given must hold."""
        filters = [(jobs.c.state, state), (jobs.c.kind, kind), (datasets.c.name, dataset)]
        where = [column == value for column, value in filters if value is not None]
        if before is not None:
            where.append(jobs.c.id < before)
        with reading(self.engine) as connection:
            found = connection.execute(select_jobs().where(*where).order_by(jobs.c.id.desc()).limit(limit)).mappings()
            return [JobRow(**row) for row in found]

    def stop(self, job_id: int) -> JobRow:
        """End a job: at once, or by its trainer with a checkpoint.

        Raises:
            UnknownJobError, ConflictError: if there is no such job, or it has ended otherwise.
        """
        return self._wish(job_id, "stop")

    def pause(self, job_id: int) -> JobRow:
        """Let a job rest until it is resumed.

        Raises:
            UnknownJobError, ConflictError: if there is no such job, or it is stopping or has ended.
        """
        return self._wish(job_id, "pause")

    def resume(self, job_id: int) -> JobRow:
        """Let a paused job go on.

        Raises:
            UnknownJobError, ConflictError: if there is no such job, or it is stopping or has ended.
        """
        return self._wish(job_id, "resume")

    def _wish(self, job_id: int, wish: Wish) -> JobRow:
        with writing(self.engine) as connection:
            job = job_row(connection, job_id, lock=True)
            situation = job.state, job.desired_state
            after = after_wish(job_id, situation, wish)
            if after != situation:
                self._grant(connection, job, wish, *after)
            return job_row(connection, job_id)

    def _grant(
        self, connection: Connection, job: JobRow, wish: Wish, state: JobState, desired_state: DesiredState
    ) -> None:
        now = self.clock()
        finished = {"finished_at": now} if state == "stopped" else {}
        values: dict[str, Any] = {"state": state, "desired_state": desired_state, **finished}
        if wish == "resume":
            values["message"] = None  # which said why it waited
        connection.execute(jobs.update().where(jobs.c.id == job.id).values(**values))
        add_log(connection, job.id, "INFO", f"asked to {wish}; {state} after round {job.round}", now)
        if state == "stopped":
            leave_model(connection, job.id, job.best_round or job.round, now)

    def claim(self, worker: str, lease_seconds: float, max_attempts: int) -> tuple[JobRow, Lease] | None:
        """Lease the oldest job that is queued or whose trainer died to this trainer; return None if there is none.

        A job whose trainers died ``max_attempts`` times without a round in between becomes failed instead.
        """
        with reading(self.engine) as connection:
            silent = self._silence.of(leases.held(connection), lease_seconds)
            if not leases.anything_to_claim(connection, max_attempts, self._lease_time(connection), silent):
                return None
        with writing(self.engine) as connection:  # which may have waited: the lease counts from now
            now = self._lease_time(connection)
            lease = leases.claim(connection, worker, lease_seconds, max_attempts, now, silent)
            return None if lease is None else (job_row(connection, lease.job_id), lease)

    def _lease_time(self, connection: Connection) -> float:
        """Tell the time by which leases end: the database's where it has a clock and none was given."""
        found = leases.database_time(connection) if self.clock is time.time else None
        return self.clock() if found is None else found

    def renew(self, lease: Lease, lease_seconds: float, clients_done: int, clients_selected: int) -> DesiredState:
        """Send a heartbeat: keep the job, report how far its round is, and return what its user wants."""
        values = {"clients_done": clients_done, "clients_selected": clients_selected}
        with writing(self.engine) as connection:
            until = self._lease_time(connection) + lease_seconds
            job = leases.fenced_update(connection, lease, lease_expires_at=until, **values)
            seen = {"seen_at": self.clock()}
            connection.execute(trainers.update().where(trainers.c.worker == lease.worker).values(**seen))
            desired: DesiredState = job.desired_state
            return desired

    def wish(self, lease: Lease) -> DesiredState:
        """Return what the job's user wants of it, without waiting for a writer."""
        with reading(self.engine) as connection:
            return leases.desired_state(connection, lease)

    def has_erasures(self, lease: Lease) -> bool:
        """Say whether users are to be erased from the job's files, which only its trainer may do now."""
        with reading(self.engine) as connection:
            wanted = select(erasures.c.job_id).where(erasures.c.job_id == lease.job_id).limit(1)
            return connection.execute(wanted).first() is not None

    def begin(self, lease: Lease, *, snapshot_digest: str, last_interaction_id: int | None) -> None:
        """Name the snapshot that the job trains on.

        Raises:
            ConflictError: if rounds were trained on another.
        """
        with writing(self.engine) as connection:
            training_writes.begin(connection, lease, snapshot_digest, last_interaction_id)

    def inherit(self, lease: Lease, parent: int) -> None:
        """Begin where another job has ended: its snapshot, and what it has recorded of its rounds."""
        with writing(self.engine) as connection:
            training_writes.inherit(connection, lease, parent)

    def commit_round(self, lease: Lease, result: RoundResult) -> None:
        """Commit all that a round leaves, or nothing of it. Round 0 is the start, before any training.

        Raises:
            ValueError: if a metric is NaN or infinite.
            ConflictError: if the round is there already, or does not follow the last.
        """
        training_writes.check_numbers(result.metrics)
        with writing(self.engine) as connection:
            training_writes.commit_round(connection, lease, result, self.clock())

    def finish(
        self,
        lease: Lease,
        state: EndState,
        *,
        message: str | None = None,
        traceback: str | None = None,
        test: Mapping[str, float] | None = None,
        test_round: int | None = None,
        model_round: int | None = None,
        activate: bool = False,
        verdict: Verdict | None = None,
    ) -> None:
        """End the job, with its test result, the model it leaves and that model's activation, all at once.

        Args:
            lease: the trainer's.
            state: how it ends.
            message: why, in a sentence for the user.
            traceback: where, for the operator.
            test: test metrics, of the model of round ``test_round``.
            test_round: needed with ``test``.
            model_round: the round whose checkpoint is the model, None where the job leaves none.
            activate: whether to serve it from now on, without more being said; a training job only.
            verdict: instead, whether to serve it and why, or why not.

        Raises:
            ValueError: if a test metric is NaN or infinite.
            ConflictError: if it ends as stopped unasked, or the model's checkpoint is not kept.
        """
        training_writes.check_numbers({"test": test or {}})
        with writing(self.engine) as connection:
            verdict = verdict or Verdict(activate)
            assert model_round is not None or not verdict.serve, "only a model can be activated"
            now = self.clock()
            job = training_writes.end(connection, lease, state, message, traceback, now)
            if test is not None:
                assert test_round is not None, "test metrics belong to a round"
                training_writes.add_test_metrics(connection, job.id, test_round, test)
            if model_round is not None:
                training_writes.leave(connection, job, model_round, verdict, now)

    def release(self, lease: Lease) -> JobState:
        """Give the job back unharmed: what it became, which is queued unless its user wants it paused or stopped."""
        with writing(self.engine) as connection:
            return leases.let_go(connection, lease, self.clock())

    def hold(self, lease: Lease, message: str) -> JobState:
        """Give the job back as one that waits, paused, until its user resumes it, with a sentence that says why."""
        with writing(self.engine) as connection:
            return leases.hold(connection, lease, message, self.clock())

    def forget_checkpoints(self, lease: Lease, numbers: Sequence[int]) -> list[int]:
        """Take the checkpoints of these rounds out of the record, but for those a model needs.

        Returns:
            The rounds whose folders may now be deleted.
        """
        with writing(self.engine) as connection:
            return training_writes.forget_checkpoints(connection, lease, numbers)

    def log(self, job: int | Lease, level: LogLevel, message: str) -> None:
        """Add a line to a job's log; with a lease, only while it holds."""
        with writing(self.engine) as connection:
            job_id = leases.held_job(connection, job).id if isinstance(job, Lease) else job
            add_log(connection, job_id, level, message, self.clock())

    def logs(self, job_id: int, after_id: int = 0, limit: int = 1000, before_id: int | None = None) -> list[LogRow]:
        """List the log's lines after one, in order: the first ones, or with ``before_id`` the last ones before that."""
        where = [logs.c.job_id == job_id, logs.c.id > after_id]
        order = logs.c.id.asc()
        if before_id is not None:
            where.append(logs.c.id < before_id)
            order = logs.c.id.desc()
        columns = (logs.c.id, logs.c.time, logs.c.level, logs.c.message)
        with reading(self.engine) as connection:
            found = connection.execute(select(*columns).where(*where).order_by(order).limit(limit))
            return sorted((LogRow(*row) for row in found), key=lambda row: row.id)

    def seen(self, worker: str, job_id: int | None) -> None:
        """Note a trainer's sign of life; forget those that died and were not seen for a day."""
        now = self.clock()
        with writing(self.engine) as connection:
            known = trainers.update().where(trainers.c.worker == worker).values(seen_at=now, job_id=job_id)
            if connection.execute(known).rowcount == 0:
                values = {"worker": worker, "started_at": now, "seen_at": now, "job_id": job_id}
                connection.execute(trainers.insert().values(**values))
                connection.execute(trainers.delete().where(trainers.c.seen_at < now - FORGET_TRAINERS_AFTER))

    def leave(self, worker: str) -> None:
        """Remove a trainer that ends in an orderly way."""
        with writing(self.engine) as connection:
            connection.execute(trainers.delete().where(trainers.c.worker == worker))

    def trainers(self) -> list[TrainerRow]:
        """List the trainers by name; whether one still lives is told by when it was last seen."""
        columns = (trainers.c.worker, trainers.c.started_at, trainers.c.seen_at, trainers.c.job_id)
        with reading(self.engine) as connection:
            return [TrainerRow(*row) for row in connection.execute(select(*columns).order_by(trainers.c.worker))]
