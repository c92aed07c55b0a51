"""What all contracts share."""

from datetime import datetime
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field

# Of ids and names that enter: something, and no control character, which no database and no log is to hold.
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
# For ids to look up: whatever a database may hold that was filled before there was a rule.
STORED = r"^[^\x00]+$"

Time = Annotated[datetime, Field(description="UTC, RFC 3339.", examples=["2026-11-25T08:30:00Z"])]

T = TypeVar("T")
# A list that enters: the first wrong member ends its reading, so that a long list costs one error and no thousands.
Listed = Annotated[tuple[T, ...], FailFast()]


class Contract(BaseModel):
    """A frozen JSON object without unknown keys, NaN or infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())
