"""An A/B test, who is in which arm of it, and that it ends where another model goes into service."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, select, type_coerce, update
from sqlalchemy.types import NullType

from fedmem.contracts.ab_tests import Arm
from fedmem.storage.schema import ab_tests, datasets, models


@dataclass(frozen=True)
class AbTestRow:
    """Two models that share a data set's users.

    Attributes:
        id: its number.
        dataset: the data set.
        control: the version in service.
        treatment: the version that is tried.
        share: of the users, who get the treatment.
        salt: of the split, so that each test splits the users anew.
        started_at: seconds since 1970.
        ended_at: likewise; None as long as it runs.
        ended_because: why, in a sentence.
    """

    id: int
    dataset: str
    control: str
    treatment: str
    share: float
    salt: bytes = field(repr=False)
    started_at: float = 0.0
    ended_at: float | None = None
    ended_because: str | None = None

    @property
    def damage(self) -> str | None:
        """Say why no user can be split by it, None where its row in the database is whole."""
        if not (isinstance(self.share, float) and 0 < self.share < 1):
            return f"its share is {self.share!r}, no number between 0 and 1"
        if not (isinstance(self.salt, bytes) and len(self.salt) <= hashlib.blake2b.MAX_KEY_SIZE):
            return f"its salt is not of {hashlib.blake2b.MAX_KEY_SIZE} bytes at most"
        return None

    def arm_of(self, user_id: str) -> Arm:
        """Say which arm a user is in, always the same: by a keyed hash of the id, a number from 0 to 1."""
        digest = hashlib.blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=8, key=self.salt).digest()
        return "treatment" if int.from_bytes(digest) < self.share * 2**64 else "control"

    def version_for(self, user_id: str) -> str:
        """Name the model that answers a user."""
        return self.treatment if self.arm_of(user_id) == "treatment" else self.control


def select_tests() -> Select[Any]:
    """Select the columns of ``AbTestRow``, the newest first."""
    columns: list[Any] = [
        ab_tests.c[name] for name in AbTestRow.__dataclass_fields__ if name not in ("dataset", "salt")
    ]
    columns.append(type_coerce(ab_tests.c.salt, NullType()).label("salt"))  # as it is: text in it spoils no other row
    joined = select(*columns, datasets.c.name.label("dataset")).join(datasets, datasets.c.id == ab_tests.c.dataset_id)
    return joined.order_by(ab_tests.c.id.desc())


def test_of(row: Row[Any]) -> AbTestRow:
    """Make one of a selected row."""
    return AbTestRow(**row._mapping)


def running_test(connection: Connection, dataset_id: int) -> AbTestRow | None:
    """Find the test of a data set that runs; there is one at most."""
    running = select_tests().where(ab_tests.c.dataset_id == dataset_id, ab_tests.c.ended_at.is_(None))
    row = connection.execute(running).first()
    return None if row is None else test_of(row)


def end_tests(connection: Connection, dataset_id: Any, because: str, now: float) -> None:
    """End the test of a data set, if one runs, in the transaction that makes it senseless."""
    end_those(connection, ab_tests.c.dataset_id == dataset_id, because, now)


def end_those(connection: Connection, which: ColumnElement[bool], because: str, now: float) -> None:
    """End the tests among these that run, and let the models that waited for their end say that it has come."""
    running = update(ab_tests).where(which, ab_tests.c.ended_at.is_(None))
    ended = connection.scalars(running.values(ended_at=now, ended_because=because).returning(ab_tests.c.id)).all()
    for test_id in ended:
        then = (
            f"A/B test {test_id} ran when its job ended, and has ended since: activate it, or leave it to the next "
            "job's model, which is judged"
        )
        waited = models.c.held_back.startswith(_waits_for(test_id), autoescape=True)
        connection.execute(update(models).where(waited).values(held_back=then))


def why_wait(test: AbTestRow) -> str:
    """Say why a model that ends up beside a test waits."""
    return f"{_waits_for(test.id)}{test.control} and {test.treatment} runs, and is not cut short"


def _waits_for(test_id: int) -> str:
    return f"A/B test {test_id} of "
