"""Items and users as they cross HTTP."""

from functools import partial
from typing import Annotated

from pydantic import BeforeValidator, Field

from fedmem.contracts.contract import PRINTABLE, Body, Contract, Listed, Time
from fedmem.contracts.recommendations import MAX_HISTORY, ItemId, UserId, told_apart
from fedmem.identifiers import (
    MAX_DESCRIPTION_LENGTH,
    MAX_ID_LENGTH,
    MAX_NAME_LENGTH,
    MAX_NAMES,
    MAX_TITLE_LENGTH,
    read_id,
)

WHOLE_NUMBERS = "Blanks around it are left out, and a whole number is taken as text."
NewItemId = Annotated[
    str,
    BeforeValidator(partial(read_id, what="item id")),
    BeforeValidator(told_apart),
    Field(
        max_length=MAX_ID_LENGTH,
        pattern=PRINTABLE,
        description=f"An item's id in the data set. {WHOLE_NUMBERS}",
        examples=["1197"],
    ),
]
NewUserId = Annotated[
    str,
    BeforeValidator(partial(read_id, what="user id")),
    BeforeValidator(told_apart),
    Field(max_length=MAX_ID_LENGTH, pattern=PRINTABLE, description=f"A user's id. {WHOLE_NUMBERS}", examples=["u1"]),
]
Title = Annotated[str, Field(max_length=MAX_TITLE_LENGTH, pattern=PRINTABLE, examples=["The Princess Bride"])]
Genre = Annotated[str, Field(max_length=MAX_NAME_LENGTH, pattern=PRINTABLE, examples=["Comedy"])]


class ItemUpdate(Body):
    """What ``PUT /items/{id}`` takes: an item's whole description. It is recommendable from the next answer on."""

    title: Title = Field(description="As a reader is to see it.")
    genres: Listed[Genre] = Field(
        (), max_length=MAX_NAMES, description="Its genres, which are its categories.", examples=[["Comedy", "Romance"]]
    )
    year: int | None = Field(None, ge=-9999, le=9999, examples=[1987])
    tags: Listed[Genre] = Field(
        (),
        max_length=MAX_NAMES,
        description="Free words by which answers are filtered (`tag`); no model reads them. Left out, they stay.",
        examples=[["vegan", "gift"]],
    )
    text: str = Field(
        "",
        max_length=MAX_DESCRIPTION_LENGTH,
        pattern=r"^[^\x00]*$",
        description="A description. Title, year, genres and this are what the text encoder reads.",
        examples=["A farm boy turned pirate looks for his true love."],
    )


class ItemAvailability(Body):
    """What ``POST /items/availability`` takes: which items are hidden, and which are shown again."""

    hide: Listed[ItemId] = Field(
        (), max_length=MAX_HISTORY, description="Not to be recommended until they are shown.", examples=[["1197"]]
    )
    show: Listed[ItemId] = Field((), max_length=MAX_HISTORY, description="To be recommended again.", examples=[["260"]])


class AvailabilityChange(Contract):
    """How many items were not so before."""

    hidden: int = Field(description="Hidden now, and not before.", examples=[1])
    shown: int = Field(description="Shown now, and hidden before.", examples=[1])


class ItemResponse(Contract):
    """An item of the catalogue."""

    item_id: ItemId
    title: str = Field(description="The title, or the id where no title is known.", examples=["The Princess Bride"])
    genres: tuple[str, ...] = Field(examples=[["Comedy", "Romance"]])
    year: int | None = Field(examples=[1987])
    tags: tuple[str, ...] = Field((), description="Free words by which answers are filtered.", examples=[["vegan"]])
    text: str = Field(
        description="What the text encoder reads of it; empty where nothing is known.",
        examples=["The Princess Bride (1987). Comedy, Romance. A farm boy turned pirate looks for his true love."],
    )
    description: str = Field(
        "",
        description="The part of `text` beside title, year and genres: what `PUT /items/{id}` takes as `text`.",
        examples=["A farm boy turned pirate looks for his true love."],
    )
    image_url: str | None = Field(None, description="Where its picture is, or null.", examples=["/items/1197/image"])
    available: bool = Field(description="false: it is hidden, and no model recommends it.", examples=[True])
    recommendable: bool = Field(description="Whether the model in service can recommend it.")
    trained: bool = Field(description="Whether the model in service saw it in training, or knows its text only.")


class ItemPage(Contract):
    """Items in the catalogue's order."""

    items: tuple[ItemResponse, ...]
    total: int = Field(description="How many items match in all.", examples=[240])
    next: str | None = Field(description="Path of the next page, or null.", examples=["/items?offset=50"])


class HistoryEntry(Contract):
    """One interaction of a user."""

    item_id: ItemId
    title: str = Field(description="The title, or the id where no title is known.", examples=["The Princess Bride"])
    timestamp: float = Field(description="When: seconds since 1970, or steps of the data set.", examples=[978300019])


class Impression(Contract):
    """An item that was recommended to a user, in an answer that was noted for the online evaluation."""

    recommendation_id: str = Field(description="The answer.", examples=["6f2c1b0e9d8a47c3b5f0e1d2c3b4a596"])
    item_id: ItemId
    position: int = Field(description="Its place in the list, from 1 on.", examples=[1])
    model_version: str = Field(description="The model that answered.", examples=["job-7-round-120"])
    shown_at: Time
    clicked_at: Time | None = Field(description="When the user clicked on it.")
    taken_at: Time | None = Field(description="When it became an interaction of the user.")


class UserHistory(Contract):
    """Everything that is stored of a user, oldest first: the export, too."""

    user_id: UserId
    interactions: tuple[HistoryEntry, ...]
    impressions: tuple[Impression, ...] = Field((), description="What was recommended, of the answers that were noted.")


class UserSummary(Contract):
    """A user and how much is known."""

    user_id: UserId
    interactions: int = Field(description="How many are stored.", examples=[53])


class UserPage(Contract):
    """Users in the order of their ids."""

    users: tuple[UserSummary, ...]
    next: str | None = Field(description="Path of the next page, or null.", examples=["/users?after=u50"])
