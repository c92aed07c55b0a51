"""Which columns of a table with named columns are the user, the item and the time."""

from dataclasses import dataclass

DEFAULT_TIMESTAMP = "timestamp"


@dataclass(frozen=True)
class Columns:
    """Column names in a csv or parquet file; the default timestamp column may be absent, a named one may not."""

    user: str = "user_id"
    item: str = "item_id"
    timestamp: str = DEFAULT_TIMESTAMP

    @property
    def timestamp_is_optional(self) -> bool:
        """Without timestamps the rows of the file are the order."""
        return self.timestamp == DEFAULT_TIMESTAMP


MOVIELENS_COLUMNS = Columns(user="userId", item="movieId", timestamp=DEFAULT_TIMESTAMP)
