"""Feedback as it crosses HTTP: what users did, which of it trains, and what became of each event."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, ValidationError, model_validator

from fedmem.contracts.catalogue import NewItemId, NewUserId
from fedmem.contracts.contract import PRINTABLE, Body, Contract
from fedmem.times import read_time

MAX_EVENTS = 10_000
MAX_WEIGHT = 1e9

FeedbackKind = Literal["interaction", "view", "click", "purchase", "like", "rating", "dislike", "skip"]
# Which kinds become interactions, which models train on and histories hold; of ratings, those that are high enough.
TRAINING_KINDS: frozenset[FeedbackKind] = frozenset({"interaction", "purchase", "like", "rating"})

Timestamp = Annotated[
    float,
    BeforeValidator(read_time, json_schema_input_type=float | str),
    Field(
        ge=0,
        description="When: seconds since 1970 or, told by their size, milli-, micro- or nanoseconds; or an ISO 8601 "
        "time, in UTC where it names no zone. In a data set without times, a number behind its last row.",
        examples=[978300019],
    ),
]
RecommendationId = Annotated[
    str,
    Field(
        max_length=64,
        pattern=PRINTABLE,
        description="The `recommendation_id` of an answer.",
        examples=["6f2c1b0e9d8a47c3b5f0e1d2c3b4a596"],
    ),
]


class FeedbackEvent(Body):
    """One thing that a user did with an item."""

    user_id: NewUserId
    item_id: NewItemId
    timestamp: Timestamp
    kind: FeedbackKind = Field(
        "interaction",
        description="What it was. `interaction`, `purchase`, `like` and a `rating` from FEDMEM_POSITIVE_RATING on "
        "become interactions: the history has them, and models train on them. `view`, `click`, `dislike`, `skip` "
        "and lower ratings only count, in /metrics and in the online evaluation.",
    )
    rating: float | None = Field(
        None, ge=-MAX_WEIGHT, le=MAX_WEIGHT, description="Of a `rating`, the stars given.", examples=[5]
    )
    weight: float = Field(
        1.0,
        ge=0,
        le=MAX_WEIGHT,
        description="What it is worth, a price or minutes say, in the sums of the online evaluation. Training counts "
        "every interaction once.",
    )
    recommendation_id: RecommendationId | None = Field(None, description="The answer that led to it, if that is known.")

    @model_validator(mode="after")
    def _rated(self) -> Self:
        if (self.rating is None) == (self.kind == "rating"):
            raise ValueError("a `rating` needs `rating`, the stars given, and no other kind has it")
        return self

    def trains(self, positive_rating: float) -> bool:
        """Say whether it becomes an interaction."""
        return self.kind in TRAINING_KINDS and (self.rating is None or self.rating >= positive_rating)


class WrongEvent:
    """What was sent as an event and is none: what Pydantic says is wrong with it. No dataclass: it is in no schema."""

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        self.errors = errors


class SentEvent:
    """What was sent as an event, not read yet: to read ten thousand wrong ones takes a second, and a thread."""

    def __init__(self, sent: object) -> None:
        self.sent = sent

    def read(self) -> FeedbackEvent | WrongEvent:
        """Read the event; one that is none does not cost the others."""
        try:
            return FeedbackEvent.model_validate(self.sent)
        except ValidationError as error:
            return WrongEvent([dict(one) for one in error.errors(include_url=False)])


class FeedbackRequest(Body):
    """What ``POST /feedback`` takes. The same event again, from a retry, is stored once."""

    events: tuple[Annotated[SentEvent, PlainValidator(SentEvent, json_schema_input_type=FeedbackEvent)], ...] = Field(
        min_length=1,
        max_length=MAX_EVENTS,
        description="In any order.",
        examples=[[{"user_id": "u1", "item_id": "1197", "timestamp": 978300019, "kind": "purchase"}]],
    )


class RefusedEvent(Contract):
    """An event that could not be taken."""

    index: int = Field(description="Its place in `events`, from 0 on.", examples=[3])
    status: int = Field(description="The status that it would have had alone.", examples=[404])
    detail: str = Field(
        description="What is wrong, in a sentence.", examples=["the data set 'demo' has no item 'm999'"]
    )


class FeedbackResponse(Contract):
    """What became of the events."""

    accepted: int = Field(description="New interactions; they count from the next recommendation on.", examples=[1])
    duplicates: int = Field(description="Interactions that were there already.", examples=[0])
    left_out: int = Field(
        description="Those of users who were deleted since they happened. A later event is of a user who came back.",
        examples=[0],
    )
    counted: int = Field(0, description="Those of kinds that only count.", examples=[0])
    refused: tuple[RefusedEvent, ...] = Field(
        (), description="Those that could not be taken, where others were: the status is 207 then.", examples=[[]]
    )
