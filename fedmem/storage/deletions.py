"""Users who were deleted, so that no file brings them back: up to which time, by a salted digest of the id.

The digest keeps the ids of deleted users out of the database's files and backups. It is no anonymity towards whoever
has all of the database: the salt stands in it too, so that a guessed id can be tried.

What counts as old is decided by time. In a data set that counts seconds since 1970, it is every row up to the moment of
the deletion, wherever it comes from. Row numbers and other steps cannot be compared with a clock: there it is every row
up to the newest that the data set held. Later rows are of a user who has come back, and count.
"""

import hashlib
import math
import secrets
from collections.abc import Collection

import numpy as np
from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fedmem.storage.catalogue_rows import InteractionColumns
from fedmem.storage.interactions import seen
from fedmem.storage.schema import datasets, deletions, interactions
from fedmem.times import FIRST_DATE

SALT_BYTES = DIGEST_BYTES = 16
ASKED_TOGETHER = 10_000


def remember_deletion(connection: Connection, dataset_id: int, user_id: str, now: float) -> None:
    """Note that a user's rows up to now stay out; the data set must be locked, and the rows still be there."""
    salt = _salt(connection, dataset_id)
    if salt is None:
        salt = secrets.token_bytes(SALT_BYTES)
        connection.execute(update(datasets).where(datasets.c.id == dataset_id).values(deletion_salt=salt))
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    until = _newest_to_leave_out(connection, dataset_id, user_id, now)
    row = dialect.insert(deletions).values(dataset_id=dataset_id, user_digest=_digest(salt, user_id), until=until)
    later = row.on_conflict_do_update(
        index_elements=[deletions.c.dataset_id, deletions.c.user_digest],
        set_={"until": row.excluded.until},
        where=deletions.c.until < row.excluded.until,
    )
    connection.execute(later)


def forget_deletion(connection: Connection, dataset_id: int, user_id: str) -> bool:
    """Let a deleted user's earlier rows in again, and say whether there was a deletion; the data set must be locked."""
    salt = _salt(connection, dataset_id)
    if salt is None:
        return False
    of_user = (deletions.c.dataset_id == dataset_id, deletions.c.user_digest == _digest(salt, user_id))
    return connection.execute(delete(deletions).where(*of_user)).rowcount > 0


def without_deleted(connection: Connection, dataset_id: int, rows: InteractionColumns) -> InteractionColumns:
    """Leave out the rows of deleted users from before their deletion; the data set must be locked."""
    salt = _salt(connection, dataset_id)
    if salt is None:
        return rows
    limits = _limits(connection, dataset_id, salt, set(rows.users))
    if not limits:
        return rows
    limit = np.fromiter((limits.get(user, -np.inf) for user in rows.users), np.float64, len(rows))
    return rows.where(np.asarray(rows.timestamps) > limit)


def deleted_users(connection: Connection, dataset_id: int, user_ids: Collection[str]) -> set[str]:
    """Find out which of these users were deleted and not readmitted, whether they came back or not."""
    salt = _salt(connection, dataset_id)
    return set() if salt is None else set(_limits(connection, dataset_id, salt, user_ids))


def deletion_state(connection: Connection, dataset_id: int | None = None) -> tuple[float, ...]:
    """Return what changes as users of a data set, or of any, are deleted or let in again."""
    counted = select(func.count(), func.coalesce(func.sum(deletions.c.until), 0.0)).select_from(deletions)
    if dataset_id is not None:
        counted = counted.where(deletions.c.dataset_id == dataset_id)
    return tuple(connection.execute(counted).one())


def _salt(connection: Connection, dataset_id: int) -> bytes | None:
    salt: bytes | None = connection.scalar(select(datasets.c.deletion_salt).where(datasets.c.id == dataset_id))
    return salt


def _digest(salt: bytes, user_id: str) -> bytes:
    return hashlib.blake2b(user_id.encode(), digest_size=DIGEST_BYTES, key=salt).digest()


def _limits(connection: Connection, dataset_id: int, salt: bytes, user_ids: Collection[str]) -> dict[str, float]:
    """Return the time up to which rows are left out, of those users who were deleted."""
    users = {_digest(salt, user): user for user in user_ids}
    deleted = select(deletions.c.user_digest, deletions.c.until).where(deletions.c.dataset_id == dataset_id)
    if len(users) <= ASKED_TOGETHER:  # of more users than that, it is quicker to look at every deletion
        deleted = deleted.where(deletions.c.user_digest.in_(users))
    found = connection.execute(deleted, execution_options={"yield_per": ASKED_TOGETHER})
    return {users[row.user_digest]: row.until for row in found if row.user_digest in users}


def _newest_to_leave_out(connection: Connection, dataset_id: int, user_id: str, now: float) -> float:
    # A damaged row's time may be a text or NaN, which both databases place behind every number.
    times = *seen(dataset_id), interactions.c.timestamp < math.inf
    newest = select(func.max(interactions.c.timestamp)).where(*times)
    if connection.scalar(select(interactions.c.id).where(*times, interactions.c.timestamp >= FIRST_DATE).limit(1)):
        of_user = connection.scalar(newest.where(interactions.c.user_id == user_id))
        return now if of_user is None else max(now, of_user)
    found: float | None = connection.scalar(newest)
    return now if found is None else found
