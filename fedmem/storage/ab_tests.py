"""A/B tests: started and ended, and what their users did."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, case, func, select

from fedmem.errors import ConflictError, UnknownTestError
from fedmem.storage import datasets
from fedmem.storage.ab_rows import AbTestRow, end_those, running_test, select_tests, test_of
from fedmem.storage.engine import reading, writing
from fedmem.storage.impressions import ATTRIBUTION_WINDOW
from fedmem.storage.model_origin import origin_of
from fedmem.storage.models import active_version, model_of
from fedmem.storage.schema import ab_tests, impressions

SALT_BYTES = 16


@dataclass(frozen=True)
class ArmCounts:
    """The users of an arm whom an answer of the test was noted of.

    A user is judged once the window after the first of these answers is over: did the user click on what the test's
    answers held, or take it, within it?

    Attributes:
        version: the arm's model.
        users: who are judged.
        waiting: who are not yet.
        clicks: of those who are judged, who clicked.
        hits: of those, who took something.
    """

    version: str
    users: int = 0
    waiting: int = 0
    clicks: int = 0
    hits: int = 0


class AbTestStore:
    """Every method is one transaction.

    Args:
        engine: the database.
        window: seconds in which a user is judged.
    """

    def __init__(
        self, engine: Engine, clock: Callable[[], float] = time.time, *, window: float = ATTRIBUTION_WINDOW
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._window = window

    def start(self, treatment: str, share: float) -> AbTestRow:
        """Let a model answer a share of its data set's users from now on.

        Raises:
            UnknownModelError: if there is none of that name.
            ConflictError: if it cannot be tried: it serves or is equal to what does, its checkpoint is gone, nothing
                serves, or a test runs.
        """
        with writing(self._engine) as connection:
            model = model_of(connection, treatment)
            dataset_id = datasets.lock_dataset(connection, model.dataset)
            control = active_version(connection, dataset_id)
            if model.checkpoint is None:
                raise ConflictError(f"the checkpoint of model {treatment} is no longer kept; try another")
            if control is None:
                raise ConflictError(f"no model serves {model.dataset!r} that {treatment} could be compared with")
            if control == treatment:
                raise ConflictError(f"model {treatment} serves all users of {model.dataset!r}: try another beside it")
            if (origin := origin_of(connection, model)) == origin_of(connection, model_of(connection, control)):
                raise ConflictError(
                    f"model {treatment} and {control}, which serves {model.dataset!r}, are equal: both are round "
                    f"{origin.round} of job {origin.job_id}; try another model"
                )
            if (running := running_test(connection, dataset_id)) is not None:
                raise ConflictError(
                    f"test {running.id} of {running.control} and {running.treatment} runs on {model.dataset!r}: stop "
                    "it first"
                )
            values = {"control": control, "treatment": treatment, "share": share, "started_at": self._clock()}
            salt = secrets.token_bytes(SALT_BYTES)
            inserted = connection.execute(ab_tests.insert().values(dataset_id=dataset_id, salt=salt, **values))
            assert inserted.inserted_primary_key is not None, "a row has a number"
            return _get(connection, inserted.inserted_primary_key[0])

    def stop(self, test_id: int, because: str) -> AbTestRow:
        """End a test: the control answers all again.

        Raises:
            UnknownTestError: if there is none of that number.
            ConflictError: if it has ended.
        """
        with writing(self._engine) as connection:
            test = _get(connection, test_id)
            if test.ended_at is not None:
                raise ConflictError(f"test {test_id} has ended: {test.ended_because}")
            end_those(connection, ab_tests.c.id == test_id, because, self._clock())
            return _get(connection, test_id)

    def get(self, test_id: int) -> AbTestRow:
        """Return one test; ``UnknownTestError`` if there is none of that number."""
        with reading(self._engine) as connection:
            return _get(connection, test_id)

    def page(self, dataset: str | None = None, limit: int = 50) -> list[AbTestRow]:
        """List the newest tests, of one data set or of all."""
        wanted = select_tests().limit(limit)
        with reading(self._engine) as connection:
            if dataset is not None:
                wanted = wanted.where(ab_tests.c.dataset_id == datasets.find_dataset(connection, dataset))
            return [test_of(row) for row in connection.execute(wanted)]

    def running(self) -> list[AbTestRow]:
        """List those that run."""
        with reading(self._engine) as connection:
            return [test_of(row) for row in connection.execute(select_tests().where(ab_tests.c.ended_at.is_(None)))]

    def counts(self, test: AbTestRow) -> tuple[ArmCounts, ArmCounts]:
        """Count what the users of control and treatment did."""
        with reading(self._engine) as connection:
            rows = connection.execute(_counted(test.id, self._window, self._clock()))
            found = {row.version: ArmCounts(row.version, *map(int, row[1:])) for row in rows}
        return tuple(found.get(version, ArmCounts(version)) for version in (test.control, test.treatment))  # type: ignore[return-value]


def _get(connection: Connection, test_id: int) -> AbTestRow:
    row = connection.execute(select_tests().where(ab_tests.c.id == test_id)).one_or_none()
    if row is None:
        raise UnknownTestError(f"there is no A/B test {test_id}")
    return test_of(row)


def _counted(test_id: int, window: float, now: float) -> Any:
    """Select a row for each arm: of users whose window is over, and of how many it is not."""
    of_test = impressions.c.test_id == test_id
    grouped = impressions.c.version, impressions.c.user_id
    first = select(*grouped, func.min(impressions.c.shown_at).label("first")).where(of_test).group_by(*grouped)
    users = first.subquery()

    def within(column: Any) -> Any:
        return func.max(case((column <= users.c.first + window, 1), else_=0))

    same = and_(of_test, impressions.c.user_id == users.c.user_id, impressions.c.version == users.c.version)
    judged = (
        select(
            users.c.version,
            case((users.c.first + window <= now, 1), else_=0).label("ripe"),
            within(impressions.c.clicked_at).label("clicked"),
            within(impressions.c.taken_at).label("taken"),
        )
        .join(impressions, same)
        .group_by(users.c.version, users.c.user_id, users.c.first)
        .subquery()
    )
    ripe = judged.c.ripe
    return select(
        judged.c.version,
        func.sum(ripe),
        func.sum(1 - ripe),
        func.sum(ripe * judged.c.clicked),
        func.sum(ripe * judged.c.taken),
    ).group_by(judged.c.version)
