"""How much feedback a user may send in a day: one who sends without end makes training and serving dear for all."""

from collections.abc import Collection

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from fedmem.storage.interactions import seen
from fedmem.storage.schema import feedback_days, interactions

DAY = 86_400  # seconds
ASKED_TOGETHER = 10_000


def count_rows(connection: Connection, dataset_id: int, users: Collection[str]) -> dict[str, int]:
    """Count the interactions of these users."""
    wanted = *seen(dataset_id), interactions.c.user_id.in_(users)
    counts = select(interactions.c.user_id, func.count().label("rows")).where(*wanted).group_by(interactions.c.user_id)
    return {row.user_id: row.rows for row in connection.execute(counts)}


def add_to_day(connection: Connection, dataset_id: int, added: dict[str, int], most: int, now: float) -> dict[str, int]:
    """Add to what users have sent today; the data set must be locked.

    Returns the numbers of those who have sent more than ``most``: where there are any, nothing was added.
    """
    day, columns = int(now // DAY), (feedback_days.c.user_id, feedback_days.c.events)
    of_users = feedback_days.c.dataset_id == dataset_id, feedback_days.c.user_id.in_(added)
    before = {
        row.user_id: row.events
        for row in connection.execute(select(*columns).where(*of_users, feedback_days.c.day == day))
    }
    today = {user: before.get(user, 0) + count for user, count in added.items()}
    over = {user: count for user, count in today.items() if count > most}
    if today and not over:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        insert = dialect.insert(feedback_days)
        changed = {"day": insert.excluded.day, "events": insert.excluded.events}
        key = [feedback_days.c.dataset_id, feedback_days.c.user_id]
        rows = [{"dataset_id": dataset_id, "user_id": user, "day": day, "events": n} for user, n in today.items()]
        connection.execute(insert.on_conflict_do_update(index_elements=key, set_=changed), rows)
    return over


def forget_days(connection: Connection, dataset_id: int, user_id: str) -> None:
    """Delete what is noted of a user."""
    of_user = feedback_days.c.dataset_id == dataset_id, feedback_days.c.user_id == user_id
    connection.execute(delete(feedback_days).where(*of_user))
