"""Schedules: when a data set's model is to go on, again and again, and the jobs that do so. One transaction a method.

Whoever looks may queue what is due: an update that names what was seen tells two of them apart.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, select

from fedmem.config import ExperimentConfig
from fedmem.config_reader import merged, validate_config, with_defaults_of
from fedmem.contracts.jobs import PromotionMode
from fedmem.errors import ConfigError, ConflictError, UnknownJobError, UnknownScheduleError
from fedmem.recurrence import check_recurrence, next_due
from fedmem.resumable import refuse_budgets, refuse_nodes
from fedmem.storage.datasets import find_dataset, lock_dataset
from fedmem.storage.engine import reading, writing
from fedmem.storage.job_requests import insert_job, request_digest, with_repeats_of
from fedmem.storage.job_rows import LARGEST_ID, JobRow, add_log, job_row
from fedmem.storage.job_states import ENDED
from fedmem.storage.models import active_version
from fedmem.storage.schema import datasets, jobs, models, schedules

DAMAGE = (TypeError, ValueError, AttributeError, ArithmeticError)  # what values of another type than the column's raise


@dataclass(frozen=True)
class ScheduleRow:
    """One schedule: its columns, its data set's name, the job that it queued last, and what it would have to wait for.

    Attributes:
        under_way: the job of this or another schedule of the data set that has not ended; there are never two.
    """

    id: int
    dataset_id: int
    dataset: str
    cron: str
    timezone: str
    rounds: int
    config: dict[str, Any]
    promotion: PromotionMode | None
    paused: bool
    created_at: float
    next_at: float | None
    last_at: float | None
    last_job_id: int | None
    message: str | None
    last_job: JobRow | None
    under_way: JobRow | None

    def trouble(self, now: float) -> str | None:
        """Say in a sentence what is wrong, if anything is."""
        job, earlier = self.last_job, self.under_way
        if self.message is not None:
            return self.message
        if job is not None and job.state == "failed":
            return f"job {job.id} failed: {job.message}"
        if job is not None and job.held_back:
            return f"the model of job {job.id} waits: {job.held_back}"
        if earlier is None or self.next_at is None or self.next_at > now:
            return None
        return f"due, and waits for the end of job {earlier.id}, which is {earlier.state}"


@dataclass(frozen=True)
class PlannedJob:
    """What a schedule queues: the model in service goes on, or a first one is trained.

    Attributes:
        schedule: the schedule as it was seen.
        config: the job's configuration.
        start_from: the job whose model goes on, None for a first one.
    """

    schedule: ScheduleRow
    config: ExperimentConfig
    start_from: int | None


class ScheduleStore:
    """The schedules in a database.

    Args:
        engine: the database.
        clock: tells the time in seconds since 1970.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self.engine = engine
        self.clock = clock

    def create(
        self,
        *,
        dataset: str,
        cron: str,
        timezone: str = "UTC",
        rounds: int,
        config: Mapping[str, Any] | None = None,
        promotion: PromotionMode | None = None,
        defaults: Path | None = None,
    ) -> ScheduleRow:
        """Add a schedule.

        Args:
            dataset: the name of the data set whose model goes on.
            cron: when, as minute, hour, day of the month, month and day of the week.
            timezone: in which it is read.
            rounds: for how many.
            config: what differs from the defaults in a first job, where no model serves the data set.
            promotion: how the models go into service; None leaves that to the trainer's setting.
            defaults: the installation's file of settings, for a first job; None where it has none.

        Raises:
            UnknownDatasetError: if no such data set was imported.
            ConfigError: if it is no recurrence, or what it would queue now could not go on each time.
            ConflictError: if there is the same already.
        """
        check_recurrence(cron, timezone)
        now = self.clock()
        values = {"cron": cron, "timezone": timezone, "rounds": rounds, "promotion": promotion, "paused": False}
        values |= {"config": dict(config or {}), "created_at": now, "next_at": next_due(cron, timezone, now)}
        with writing(self.engine) as connection:
            dataset_id = find_dataset(connection, dataset)
            _refuse_same(connection, dataset_id, cron, timezone)
            statement = schedules.insert().values(dataset_id=dataset_id, **values).returning(schedules.c.id)
            row = _row(connection, connection.scalar(statement) or 0)
            _must_go_on(_planned(connection, row, defaults))
            return row

    def all(self, dataset: str | None = None) -> list[ScheduleRow]:
        """List the schedules of one data set or of all, in the order in which they were added."""
        statement = _select().order_by(schedules.c.id)
        if dataset is not None:
            statement = statement.where(datasets.c.name == dataset)
        with reading(self.engine) as connection:
            return [_with_job(connection, row) for row in connection.execute(statement).all()]

    def get(self, schedule_id: int) -> ScheduleRow:
        """Return one schedule.

        Raises:
            UnknownScheduleError: if there is none of that number.
        """
        with reading(self.engine) as connection:
            return _row(connection, schedule_id)

    def change(self, schedule_id: int, **values: Any) -> ScheduleRow:
        """Change columns of a schedule. Where time, zone or ``paused`` do, it is due at the next time from now.

        Raises:
            UnknownScheduleError, ConfigError, ConflictError: as ``create``.
        """
        with writing(self.engine) as connection:
            row = _row(connection, schedule_id)
            cron, timezone = values.get("cron", row.cron), values.get("timezone", row.timezone)
            check_recurrence(cron, timezone)
            if (cron, timezone) != (row.cron, row.timezone):
                _refuse_same(connection, row.dataset_id, cron, timezone)
            if {"cron", "timezone", "paused"} & values.keys():
                paused = values.get("paused", row.paused)
                values["next_at"] = None if paused else next_due(cron, timezone, self.clock())
            if values:
                connection.execute(schedules.update().where(schedules.c.id == schedule_id).values(**values))
            return _row(connection, schedule_id)

    def remove(self, schedule_id: int) -> None:
        """Remove a schedule; its jobs stay.

        Raises:
            UnknownScheduleError: if there is none of that number.
        """
        with writing(self.engine) as connection:
            _row(connection, schedule_id)
            connection.execute(schedules.delete().where(schedules.c.id == schedule_id))

    def due(self) -> list[ScheduleRow]:
        """List the schedules that are due, but for those of whose data set a job of one has not ended: these wait."""
        is_due = schedules.c.next_at <= self.clock(), schedules.c.paused.is_(False)
        with reading(self.engine) as connection:
            rows = connection.execute(_select().where(*is_due).order_by(schedules.c.next_at)).all()
            found = [_with_job(connection, row) for row in rows]
        return [row for row in found if row.under_way is None]

    def bring_back(self) -> None:
        """Let a schedule be due at its next time that was to wait for a later one, as the clock has been set back.

        Later than the second from now: of an hour that comes twice, the next time may be one that it is past already.
        What is no time at all, which SQLite takes for a later one, is put right likewise.
        """
        now, going = self.clock(), (schedules.c.paused.is_(False), schedules.c.next_at > self.clock())
        with reading(self.engine) as connection:
            rows = connection.execute(select(schedules).where(*going)).all()
        for row in rows:
            first = _next_due(row, now)
            second = None if first is None else _next_due(row, first)
            if second is not None and not (isinstance(row.next_at, float) and row.next_at <= second):
                with writing(self.engine) as connection:
                    same = schedules.c.id == row.id, schedules.c.next_at == row.next_at
                    connection.execute(schedules.update().where(*same).values(next_at=first))

    def planned(self, row: ScheduleRow, defaults: Path | None = None) -> PlannedJob:
        """Work out what a schedule would queue now; ``defaults`` is the installation's file of settings.

        Raises:
            ConfigError: if a configuration is one of another version.
        """
        with reading(self.engine) as connection:
            return _planned(connection, row, defaults)

    def queue(self, planned: PlannedJob, said: str, *, by_clock: bool) -> JobRow | None:
        """Queue the job, and say when the schedule is due next; None if it was queued or changed by another meanwhile.

        None too if a job of another schedule of the data set was: this one stays due, and waits for its end.

        Args:
            planned: what ``planned`` has worked out.
            said: for the job's log.
            by_clock: whether it was due; asked for by hand, it stays due when it was.

        Raises:
            ConflictError: if the job that is to go on cannot.
        """
        row, now = planned.schedule, self.clock()
        with writing(self.engine) as connection:
            lock_dataset(connection, row.dataset)  # of two schedules at this moment the second sees the first's job
            if _under_way(connection, row.dataset_id) is not None:
                return None
            seen = schedules.c.last_job_id.is_not_distinct_from(row.last_job_id)
            if by_clock:
                seen &= (schedules.c.next_at == row.next_at) & schedules.c.paused.is_(False)
            values: dict[str, Any] = {"last_at": now, "message": None}
            if by_clock:
                values["next_at"] = next_due(row.cron, row.timezone, now)
            mine = schedules.update().where(schedules.c.id == row.id, seen).values(**values)
            if connection.execute(mine).rowcount == 0:
                return None
            job = insert_job(connection, row.dataset, _job_values(planned), now)
            connection.execute(schedules.update().where(schedules.c.id == row.id).values(last_job_id=job.id))
            add_log(
                connection, job.id, "INFO", f"queued by schedule {row.id} ({row.cron}, {row.timezone}); {said}", now
            )
            return job

    def fail(self, row: ScheduleRow, message: str) -> None:
        """Note why a schedule that was due has queued no job; it is due again at its next time, if it has one."""
        now = self.clock()
        values = {"next_at": _next_due(row, now), "last_at": now, "message": message}
        with writing(self.engine) as connection:
            same = schedules.c.id == row.id, schedules.c.next_at == row.next_at
            connection.execute(schedules.update().where(*same).values(**values))


def _next_due(row: Row[Any] | ScheduleRow, after: float) -> float | None:
    """Return when a schedule is due next; None where its row is damaged: it says so once it is due."""
    with suppress(ConfigError, *DAMAGE):
        return next_due(row.cron, row.timezone, after)
    return None


def _planned(connection: Connection, row: ScheduleRow, defaults: Path | None) -> PlannedJob:
    version = active_version(connection, row.dataset_id)
    if version is None:
        return PlannedJob(row, _first_config(connection, row, defaults), None)
    statement = select(models.c.round, jobs.c.id, jobs.c.config).join(jobs).where(models.c.version == version)
    model = connection.execute(statement).one()
    more = {"federated": {"num_rounds": model.round + row.rounds}}
    config = validate_config(merged(model.config, more), f"the configuration of {version}")
    every = min(config.evaluation.eval_every, row.rounds)  # or a night might be over before a validation
    often = config.evaluation.model_copy(update={"eval_every": every})
    return PlannedJob(row, config.model_copy(update={"evaluation": often}), model.id)


def _must_go_on(planned: PlannedJob) -> None:
    """Refuse a schedule whose model could not go on with newer data, which each of its jobs would fail of."""
    try:
        refuse_nodes(planned.config)
        refuse_budgets(planned.config.privacy)
    except ConfigError as error:
        model = "the first job's" if planned.start_from is None else f"job {planned.start_from}'s, which serves,"
        raise ConfigError(f"a schedule lets a model go on, and {model} cannot: {error}") from None


def _first_config(connection: Connection, row: ScheduleRow, defaults: Path | None) -> ExperimentConfig:
    config = with_defaults_of(defaults, validate_config(row.config, f"schedule {row.id}"))
    if config.data.says_repeats:
        return config
    told = with_repeats_of(connection, row.dataset, config.model_dump(mode="json"))
    return validate_config(told, f"schedule {row.id}")


def _job_values(planned: PlannedJob) -> dict[str, Any]:
    row, config = planned.schedule, planned.config.model_dump(mode="json")
    return {
        "kind": "training",
        "config": config,
        "num_rounds": planned.config.federated.num_rounds,
        "start_from": planned.start_from,
        "snapshot": None if planned.start_from is None else "newest",
        "promotion": row.promotion,
        "request_digest": request_digest(["schedule", row.id, config]),
    }


def _refuse_same(connection: Connection, dataset_id: int, cron: str, timezone: str) -> None:
    """Refuse a second one at the same times, which a request that is sent again would make."""
    same = schedules.c.dataset_id == dataset_id, schedules.c.cron == cron, schedules.c.timezone == timezone
    found = connection.scalar(select(schedules.c.id).where(*same))
    if found is not None:
        raise ConflictError(f"schedule {found} is due at these times already, for the same data set: change that one")


def _select() -> Any:
    return select(schedules, datasets.c.name.label("dataset")).join(datasets)


def _row(connection: Connection, schedule_id: int) -> ScheduleRow:
    found = None
    if 0 < schedule_id <= LARGEST_ID:
        found = connection.execute(_select().where(schedules.c.id == schedule_id)).one_or_none()
    if found is None:
        raise UnknownScheduleError(f"there is no schedule {schedule_id}")
    return _with_job(connection, found)


def _with_job(connection: Connection, row: Row[Any]) -> ScheduleRow:
    job = None
    if row.last_job_id is not None:
        with suppress(UnknownJobError, *DAMAGE):  # a number that is none, or of no job
            job = job_row(connection, row.last_job_id)
    return ScheduleRow(**row._mapping, last_job=job, under_way=_under_way(connection, row.dataset_id))


def _under_way(connection: Connection, dataset_id: int) -> JobRow | None:
    """Find the job of a data set's schedules that has not ended."""
    of_dataset = schedules.c.dataset_id == dataset_id, jobs.c.state.not_in(ENDED)
    found = connection.scalar(
        select(jobs.c.id).join(schedules, schedules.c.last_job_id == jobs.c.id).where(*of_dataset)
    )
    return None if found is None else job_row(connection, found)
