"""Users who were deleted, until they are gone from the snapshots and checkpoints of all jobs that may hold them."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import ColumnElement, Connection, Engine, bindparam, delete, insert, literal, select

from fedmem.storage.engine import note_deletion, reading, writing
from fedmem.storage.import_lock import alone
from fedmem.storage.interactions import each_user
from fedmem.storage.job_rows import job_row
from fedmem.storage.schema import erasures, jobs


@dataclass(frozen=True)
class Erasure:
    """Users to be erased from a job's files, and the fencing token of the job when that was read."""

    job_id: int
    token: int
    user_ids: tuple[str, ...]


class ErasureStore:
    """What is still to be erased. The files of a job that is running are its trainer's to erase.

    Args:
        engine: the database.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def ask(self, job_id: int, user_ids: Collection[str]) -> None:
        """Ask for users to be erased from one job's files."""
        if not user_ids:  # which would wait for a long import too
            return
        with writing(self.engine) as connection:
            for user_id in user_ids:
                _ask(connection, user_id, jobs.c.id == job_id)

    def gone(self, job_id: int, user_ids: Collection[str]) -> set[str]:
        """Find out which users of a job's snapshot were deleted since, also those who came back: they begin anew.

        They have no interaction up to the last of the snapshot: a deletion leaves none, and new ones are behind it.

        Raises:
            UnknownJobError: if there is no such job.
        """
        with reading(self.engine) as connection:
            job = job_row(connection, job_id)
            there = each_user(job.dataset_id, until_id=job.last_interaction_id or 0)
            return set(user_ids).difference(connection.scalars(there))

    def pending(self) -> list[Erasure]:
        """List, by job, the erasures of jobs that no trainer holds."""
        return self._where(jobs.c.state != "running")

    def of_job(self, job_id: int) -> list[Erasure]:
        """List those of one job, none or one, whoever holds it."""
        return self._where(jobs.c.id == job_id)

    def _where(self, wanted: ColumnElement[bool]) -> list[Erasure]:
        columns = (erasures.c.job_id, jobs.c.token, erasures.c.user_id)
        rows = select(*columns).join(jobs).where(wanted).order_by(erasures.c.job_id, erasures.c.user_id)
        with reading(self.engine) as connection:
            found = connection.execute(rows).all()
        return list(_by_job([(row.job_id, row.token, row.user_id) for row in found]))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other process erase meanwhile: each would write what it has read before the other's."""
        with alone(self.engine, waiting=lambda: None, work="erasure"):
            yield

    def done(self, erasure: Erasure) -> None:
        """Forget these users, whose files are erased, unless a trainer has taken the job up meanwhile.

        What a trainer takes up after that holds no trace of them, so that it cannot write any again.
        """
        same = select(jobs.c.id).where(jobs.c.id == erasure.job_id, jobs.c.token == erasure.token)
        of_user = (erasures.c.job_id.in_(same), erasures.c.user_id == bindparam("user"))
        users = [{"user": user_id} for user_id in erasure.user_ids]
        with writing(self.engine) as connection:
            connection.execute(delete(erasures).where(*of_user), users)
            note_deletion(connection)  # of their ids here


def ask_of_dataset(connection: Connection, dataset_id: int, user_id: str) -> None:
    """Ask for a user's erasure from the files of all jobs of a data set, in the transaction that deletes the user."""
    _ask(connection, user_id, jobs.c.dataset_id == dataset_id)


def inherit(connection: Connection, job_id: int, start_from: int) -> None:
    """Pass a job's pending erasures on to one that begins with copies of its files; the data set is locked."""
    pending = select(literal(job_id), erasures.c.user_id).where(erasures.c.job_id == start_from)
    connection.execute(insert(erasures).from_select(("job_id", "user_id"), pending))


def _ask(connection: Connection, user_id: str, of_jobs: ColumnElement[bool]) -> None:
    wanted = select(jobs.c.id).where(of_jobs)
    connection.execute(delete(erasures).where(erasures.c.user_id == user_id, erasures.c.job_id.in_(wanted)))
    rows = select(jobs.c.id, literal(user_id)).where(of_jobs)
    connection.execute(insert(erasures).from_select(("job_id", "user_id"), rows))


def _by_job(rows: list[tuple[int, int, str]]) -> Iterator[Erasure]:
    for (job_id, token), some in groupby(rows, key=lambda row: row[:2]):
        yield Erasure(job_id, token, tuple(user_id for _, _, user_id in some))
