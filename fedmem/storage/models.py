"""Models that jobs have left, and which of them is served."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, func, select

from fedmem.contracts.jobs import Split
from fedmem.errors import ConflictError, UnknownModelError
from fedmem.storage.ab_rows import end_tests
from fedmem.storage.engine import reading, writing
from fedmem.storage.schema import activations, datasets, jobs, metrics, models, rounds


@dataclass(frozen=True)
class ModelRow:
    """A model: the round of a job, its checkpoint's folder under the job's, and its metrics by split.

    ``held_back`` says why it did not go into service when its job ended, ``served_before`` whether it ever did.
    """

    version: str
    job_id: int
    dataset: str
    round: int
    checkpoint: str | None
    created_at: float
    active: bool
    held_back: str | None
    served_before: bool
    metrics: dict[Split, dict[str, float]]


@dataclass(frozen=True)
class ActivationRow:
    """A time in which a model was the one to serve; ``until`` is None for now."""

    version: str
    dataset: str
    activated_at: float
    until: float | None
    reason: str


class ModelStore:
    """The models in a database.

    Args:
        engine: the database.
        clock: tells the time in seconds since 1970.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self.engine = engine
        self.clock = clock

    def page(self, limit: int = 100, dataset: str | None = None) -> list[ModelRow]:
        """List the newest models, of one data set or of all, newest first."""
        newest_first = _select_models().order_by(
            models.c.created_at.desc(), models.c.job_id.desc(), models.c.round.desc()
        )
        if dataset is not None:
            newest_first = newest_first.where(datasets.c.name == dataset)
        with reading(self.engine) as connection:
            return _model_rows(connection, connection.execute(newest_first.limit(limit)).all())

    def get(self, version: str) -> ModelRow:
        """Return one model.

        Raises:
            UnknownModelError: if there is none of that name.
        """
        with reading(self.engine) as connection:
            return model_of(connection, version)

    def active(self, dataset: str) -> ModelRow | None:
        """Return the model of a data set to serve, None before the first was activated."""
        return next((row for row in self.all_active() if row.dataset == dataset), None)

    def all_active(self) -> list[ModelRow]:
        """List the models to serve, one for each data set that has any; the one activated last comes first."""
        with reading(self.engine) as connection:
            order = list(connection.scalars(_active_versions().order_by(activations.c.id.desc())))
            found = connection.execute(_select_models().where(models.c.version.in_(order))).all()
            return sorted(_model_rows(connection, found), key=lambda row: order.index(row.version))

    def stand_ins(self, model: ModelRow, limit: int = 100) -> list[ModelRow]:
        """List what may serve in a model's place: kept models of its data set, those last in service first.

        After them come models of training jobs that were never in service, newest first, but for those that the gate
        held back; a model of an experiment, which was trained to be measured, is none unless it was once activated.
        """
        served = select(func.max(activations.c.id)).where(activations.c.version == models.c.version).scalar_subquery()
        of_data = (
            datasets.c.name == model.dataset,
            rounds.c.checkpoint.is_not(None),
            models.c.version != model.version,
        )
        allowed = (jobs.c.kind == "training") & models.c.held_back.is_(None) | served.is_not(None)
        order = (func.coalesce(served, 0).desc(), models.c.created_at.desc(), models.c.job_id.desc())
        statement = _select_models().where(*of_data, allowed).order_by(*order).limit(limit)
        with reading(self.engine) as connection:
            return _model_rows(connection, connection.execute(statement).all())

    def activate(self, version: str, reason: str) -> ModelRow:
        """Serve this model to all its data set's users from now on, an earlier one too; an A/B test ends by that.

        Raises:
            UnknownModelError: if there is none of that name.
            ConflictError: if its checkpoint is no longer kept.
        """
        with writing(self.engine) as connection:
            model = model_of(connection, version)
            if model.checkpoint is None:
                raise ConflictError(f"the checkpoint of model {version} is no longer kept; activate another")
            activate_model(connection, version, reason, self.clock())
            return model_of(connection, version)

    def before(self, dataset: str, besides: Collection[str] = ()) -> ModelRow:
        """Return the model that a rollback serves again: what served before, and is kept, besides these versions.

        Raises:
            ConflictError: if there is none.
        """
        with reading(self.engine) as connection:
            return model_of(connection, _before(connection, dataset, besides).version)

    def roll_back(self, dataset: str, reason: str, besides: Collection[str] = ()) -> ModelRow:
        """Serve again what served before, besides these versions; once more, what served before that.

        Raises:
            ConflictError: if nothing that is kept did.
        """
        with writing(self.engine) as connection:
            to = _before(connection, dataset, besides)
            older = next(_earlier(connection, to), None)
            values = {"version": to.version, "activated_at": self.clock(), "reason": reason}
            values["before_id"] = None if older is None else older.id
            connection.execute(activations.insert().values(**values))
            end_tests(connection, _dataset_of(to.version), f"{to.version} went into service: {reason}", self.clock())
            return model_of(connection, to.version)

    def history(self, dataset: str | None = None, limit: int = 100) -> list[ActivationRow]:
        """List what served when, of one data set or of all, the newest first."""
        until = func.lead(activations.c.activated_at).over(partition_by=jobs.c.dataset_id, order_by=activations.c.id)
        columns = (activations.c.version, datasets.c.name, activations.c.activated_at, until, activations.c.reason)
        statement = (
            select(*columns)
            .join(models, models.c.version == activations.c.version)
            .join(jobs, jobs.c.id == models.c.job_id)
            .join(datasets, datasets.c.id == jobs.c.dataset_id)
            .order_by(activations.c.id.desc())
        )
        if dataset is not None:
            statement = statement.where(datasets.c.name == dataset)
        with reading(self.engine) as connection:
            return [ActivationRow(*row) for row in connection.execute(statement.limit(limit))]


def version_name(job_id: int, round: int) -> str:
    """Name the model that a job leaves after a round.

    >>> version_name(7, 120)
    'job-7-round-120'
    """
    return f"job-{job_id}-round-{round}"


def add_model(connection: Connection, job_id: int, round: int, now: float, held_back: str | None = None) -> str:
    """Record a model, named by ``version_name``, inside the caller's transaction; return its name.

    ``held_back`` says why it does not go into service.

    Raises:
        ConflictError: if the round has no checkpoint that is kept.
    """
    if _checkpoint(connection, job_id, round) is None:
        raise ConflictError(f"round {round} of job {job_id} has no checkpoint that could be served")
    version = version_name(job_id, round)
    values = {"version": version, "job_id": job_id, "round": round, "created_at": now, "held_back": held_back}
    connection.execute(models.insert().values(**values))
    return version


def leave_model(connection: Connection, job_id: int, round: int, now: float) -> None:
    """Record the model of a job that ends while no trainer holds it, if that round left a checkpoint."""
    if round > 0 and _checkpoint(connection, job_id, round) is not None:
        add_model(connection, job_id, round, now)


def activate_model(connection: Connection, version: str, reason: str, now: float) -> None:
    """Name the model of its data set to serve, inside the caller's transaction; again, it changes nothing."""
    dataset_id = _dataset_of(version)
    current = _current(connection, dataset_id)
    if current is None or current.version != version:
        before = None if current is None else current.id
        values = {"version": version, "activated_at": now, "reason": reason, "before_id": before}
        connection.execute(activations.insert().values(**values))
        end_tests(connection, dataset_id, f"{version} went into service: {reason}", now)


def active_version(connection: Connection, dataset_id: int) -> str | None:
    """Return the version of a data set to serve, inside the caller's transaction."""
    current = _current(connection, dataset_id)
    return None if current is None else current.version


def version_before(connection: Connection, dataset: str) -> str | None:
    """Return the version that a rollback of a data set would serve, None if there is none."""
    try:
        version: str = _before(connection, dataset, ()).version
    except ConflictError:
        return None
    return version


def _checkpoint(connection: Connection, job_id: int, round: int) -> str | None:
    where = (rounds.c.job_id == job_id, rounds.c.round == round)
    checkpoint: str | None = connection.scalar(select(rounds.c.checkpoint).where(*where))
    return checkpoint


def _dataset_of(version: str) -> Any:
    """Select the data set of a model."""
    of_jobs = select(jobs.c.dataset_id).join(models, models.c.job_id == jobs.c.id)
    return of_jobs.where(models.c.version == version).scalar_subquery()


def _current(connection: Connection, dataset_id: Any) -> Row[Any] | None:
    """Find the newest activation of a data set's models."""
    of_models = (
        select(activations)
        .join(models, models.c.version == activations.c.version)
        .join(jobs, jobs.c.id == models.c.job_id)
    )
    newest_first = of_models.where(jobs.c.dataset_id == dataset_id).order_by(activations.c.id.desc())
    return connection.execute(newest_first.limit(1)).one_or_none()


def _before(connection: Connection, dataset: str, besides: Collection[str]) -> Row[Any]:
    """Find the activation that a rollback goes back to."""
    named = select(datasets.c.id).where(datasets.c.name == dataset).scalar_subquery()
    current = _current(connection, named)
    if current is not None:
        besides = {current.version, *besides}
        for row in _earlier(connection, current):
            if row.version not in besides and _is_kept(connection, row.version, dataset):
                return row
    raise ConflictError(
        f"no model that is kept served the data set {dataset!r} before; activate one with POST "
        "/models/VERSION/activate (GET /models lists them)"
    )


def _earlier(connection: Connection, row: Row[Any]) -> Iterator[Row[Any]]:
    """Walk back from an activation; one that is missing, or is not older, is where the history ends."""
    older: Row[Any] | None = row
    while older is not None:
        where = (activations.c.id == older.before_id, activations.c.id < older.id)
        older = connection.execute(select(activations).where(*where)).one_or_none()
        if older is not None:
            yield older


def _is_kept(connection: Connection, version: str, dataset: str) -> bool:
    where = (models.c.version == version, datasets.c.name == dataset)
    found = connection.execute(_select_models().where(*where)).one_or_none()
    return found is not None and found.checkpoint is not None


def _active_versions() -> Select[Any]:
    """Select the versions that the newest activations of each data set name."""
    newest = (
        select(func.max(activations.c.id))
        .join(models, models.c.version == activations.c.version)
        .join(jobs, jobs.c.id == models.c.job_id)
        .group_by(jobs.c.dataset_id)
    )
    return select(activations.c.version).where(activations.c.id.in_(newest.correlate(None)))


def _select_models() -> Select[Any]:
    active = models.c.version.in_(_active_versions().correlate(None))
    kept = (rounds.c.job_id == models.c.job_id) & (rounds.c.round == models.c.round)
    served = models.c.version.in_(select(activations.c.version).correlate(None)).label("served_before")
    columns = (models, datasets.c.name.label("dataset"), rounds.c.checkpoint, active.label("active"), served)
    return select(*columns).join(jobs, jobs.c.id == models.c.job_id).join(datasets).outerjoin(rounds, kept)


def model_of(connection: Connection, version: str) -> ModelRow:
    """Return one model, inside the caller's transaction; ``UnknownModelError`` if there is none of that name."""
    found = connection.execute(_select_models().where(models.c.version == version)).all()
    if not found:
        raise UnknownModelError(f"there is no model {version!r}")
    return _model_rows(connection, found)[0]


def _model_rows(connection: Connection, found: Sequence[Row[Any]]) -> list[ModelRow]:
    """Return the models with their metrics, which one query fetches for all."""
    of_round = (metrics.c.job_id == models.c.job_id) & (metrics.c.round == models.c.round)
    statement = (
        select(models.c.version, metrics.c.split, metrics.c.name, metrics.c.value)
        .join(metrics, of_round)
        .where(models.c.version.in_([row.version for row in found]), metrics.c.split.in_(("validation", "test")))
    )
    tables: dict[str, dict[Split, dict[str, float]]] = {row.version: {} for row in found}
    for version, split, name, value in connection.execute(statement):
        tables[version].setdefault(split, {})[name] = value
    flags = ("active", "served_before")
    return [
        ModelRow(**{**row._mapping, **{name: bool(row._mapping[name]) for name in flags}}, metrics=tables[row.version])
        for row in found
    ]
