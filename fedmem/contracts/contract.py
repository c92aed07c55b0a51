"""What all contracts share."""

from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator

# Of ids and names that enter: something, and no control character, which no database and no log is to hold.
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
# For ids to look up: whatever a database may hold that was filled before there was a rule.
STORED = r"^[^\x00]+$"

Time = Annotated[datetime, Field(description="UTC, RFC 3339.", examples=["2026-11-25T08:30:00Z"])]

MOST_UNKNOWN = 10  # keys of a body that are told one by one

T = TypeVar("T")
# A list that enters: the first wrong member ends its reading, so that a long list costs one error and no thousands.
Listed = Annotated[tuple[T, ...], FailFast()]


class Contract(BaseModel):
    """A frozen JSON object without unknown keys, NaN or infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Body(Contract):
    """What a request brings: of very many unknown keys one error is made, and not one of each."""

    @model_validator(mode="before")
    @classmethod
    def _few_keys(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > len(cls.model_fields) + MOST_UNKNOWN:
            unknown = [key for key in value if key not in cls.model_fields]
            raise ValueError(f"{len(unknown):,} keys are unknown here, the first of them {unknown[0]!r}")
        return value
