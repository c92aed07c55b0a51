"""Recommendations as they cross HTTP."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fedmem.contracts.contract import STORED, Body, Contract, Listed
from fedmem.identifiers import FLOAT64_EXACT
from fedmem.modality import Modality

MAX_K = 1000
MAX_OFFSET = 100_000
MAX_HISTORY = 10_000
MAX_BATCH = 256
MOST_TAGS = 20


def told_apart(value: object) -> object:
    """Refuse a whole number that many programs round when they read or write JSON, so that it may name another."""
    if type(value) is int and abs(value) >= FLOAT64_EXACT:
        raise ValueError(f"whole numbers from {FLOAT64_EXACT} on are rounded by many programs; write the id as text")
    return value


def _with_whole_numbers(value: object) -> object:
    """Give a whole number as the text that is the id, as where ids enter; the rest is left to what follows."""
    return str(told_apart(value)) if type(value) is int else value


# As they are stored, and looked up by; what enters is held to more (``catalogue.NewItemId``).
ItemId = Annotated[
    str,
    BeforeValidator(_with_whole_numbers),
    Field(pattern=STORED, description="An item's id in the data set.", examples=["1197"]),
]
UserId = Annotated[str, Field(pattern=STORED, description="A user's id.", examples=["u1"])]
Tag = Annotated[str, Field(max_length=200, description="As it is spelt in the catalogue.", examples=["vegan"])]
StrategyName = Literal["model", "global_memory", "prototypes", "popularity", "cold_model", "no_memory"]
Strategy = Annotated[
    StrategyName,
    Field(
        description="What answered. `model`: the history and the user's own memory. `global_memory`: fewer "
        "interactions than training asks for, so the memory read is the global abstract memory. `popularity`: no "
        "interaction at all, the items that most have taken. `prototypes`: the same, by a model without a transition "
        "memory, which reads the global prototypes by their mass. `cold_model`: as the last three, by a model "
        "without a global memory. `no_memory`: the history alone, because the request says `memory=false`."
    ),
]


class Selection(Contract):
    """Which of the ranked items are wanted, and how: the same of a known user, of a history, in a batch and in serving.

    A page's ``next`` repeats every field that was given, in this order.
    """

    k: int = Field(10, ge=1, le=MAX_K, description="How many items at most.", examples=[10])
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description="How many of the best to skip.", examples=[0])
    include_seen: bool | None = Field(
        None,
        description="Whether items of the history may be recommended again; by default as the model's `data.repeats` "
        "says.",
    )
    explain: bool = Field(False, description="Whether every score comes with its parts.")
    memory: bool = Field(
        True,
        description="false: neither the user's own memory nor the global one is read, and the same history is "
        "ranked by the sequence model alone (strategy `no_memory`).",
        examples=[True],
    )
    category: str | None = Field(
        None, max_length=200, description="Only items of this genre, as it is spelt in the catalogue.", examples=[None]
    )
    year_from: int | None = Field(
        None, ge=-9999, le=9999, description="Only items of this year or later.", examples=[None]
    )
    year_to: int | None = Field(
        None, ge=-9999, le=9999, description="Only items of this year or earlier.", examples=[None]
    )
    tag: Listed[Tag] = Field(
        (), max_length=MOST_TAGS, description="Only items with this tag; of several, with all of them.", examples=[[]]
    )
    exclude: Listed[ItemId] = Field(
        (), max_length=MAX_HISTORY, description="Items that are not to be recommended.", examples=[["588"]]
    )

    @property
    def end(self) -> int:
        """How many of the best this page and those before it hold."""
        return self.offset + self.k


class RecommendationRequest(Selection, Body):
    """What ``POST /recommend`` takes, and each question of a batch: a user's id, or a history. Nothing is stored."""

    user_id: UserId | None = Field(None, description="A user's id; leave it out and give a history instead.")
    history: Listed[ItemId] = Field(
        (),
        max_length=MAX_HISTORY,
        description="Item ids, oldest first. Those that the catalogue does not hold are left out and listed.",
        examples=[["1197", "260", "2571"]],
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.user_id is not None and self.history:
            raise ValueError("user_id and history exclude each other: give one of them")
        return self


class BatchRequest(Body):
    """What ``POST /recommend/batch`` takes."""

    requests: Listed[RecommendationRequest] = Field(
        min_length=1,
        max_length=MAX_BATCH,
        description="Answered in this order.",
        examples=[[{"user_id": "u1", "k": 3}, {"history": ["1197", "260"], "k": 3}]],
    )


class RememberedPart(Contract):
    """What one item of the history adds to a score, because others went on from it to the recommended one."""

    item_id: ItemId
    title: str = Field(description="Its title, or its id.", examples=["Star Wars: Episode IV"])
    score: float = Field(description="What it adds.", examples=[0.41])


class ScoreParts(Contract):
    """One score as a sum: sequence + experts + availability + popularity + remembered = score.

    It holds within 1e-5 of the score's size (or of 1).
    """

    sequence: float = Field(description="Fusion weight times the sequence model's score.", examples=[2.65])
    experts: dict[str, float] = Field(
        description=f"Fusion weight times gate times preference score, by expert: {', '.join(Modality)}.",
        examples=[{"sequential": 0.31, "text": 1.24}],
    )
    availability: float = Field(
        description="What the item's pattern of modalities adds; 0 where all items have one.", examples=[0.0]
    )
    popularity: float = Field(
        0.0, description="What its popularity adds, where nothing is known of the user; else 0.", examples=[0.0]
    )
    remembered: tuple[RememberedPart, ...] = Field(
        (),
        description="What each of the history's latest items adds by the transition memory as it is now, with what "
        "others did since the training; the most first.",
    )

    def summands(self) -> dict[str, float]:
        """Name what adds up to the score: sequence, each expert, availability, popularity, all that is remembered."""
        return {
            "sequence": self.sequence,
            **self.experts,
            "availability": self.availability,
            "popularity": self.popularity,
            "remembered": sum(part.score for part in self.remembered),
        }


class RecommendedItem(Contract):
    """One item of an answer."""

    item_id: ItemId
    title: str = Field(description="The title, or the id where no title is known.", examples=["The Princess Bride"])
    genres: tuple[str, ...] = Field(examples=[["Comedy", "Romance"]])
    year: int | None = Field(examples=[1987])
    score: float = Field(description="Greater is better; comparable within one answer only.", examples=[4.2])
    image_url: str | None = Field(None, description="Where its picture is, or null.", examples=["/items/1197/image"])
    explanation: ScoreParts | None = Field(None, description="The score's parts, if asked for.")


class MemoryWeight(Contract):
    """How much one memory entry or prototype was read."""

    kind: Literal["item", "prototype"] = Field(description="An entry of the user's own memory, or a global prototype.")
    item_id: str | None = Field(description="The remembered item; null for a prototype.", examples=["260"])
    prototype: int | None = Field(description="The prototype's index; null for an item.", examples=[None])
    title: str = Field(
        description="The item's title, or the titles nearest to the prototype.", examples=["Star Wars: Episode IV"]
    )
    weights: dict[str, float] = Field(
        description="Attention weight by expert, mean over its heads. With `nothing` they sum to one per expert.",
        examples=[{"sequential": 0.12, "text": 0.31}],
    )


class Explanation(Contract):
    """What an answer was made from; the parts of each score are given with the item."""

    fusion: dict[str, float] = Field(
        description="Weights of the scores: sequence, retriever and, if the model has them, transitions.",
        examples=[{"sequence": 1.0, "retriever": 1.0, "transitions": 0.3}],
    )
    gates: dict[str, float] = Field(
        description="Router weight by expert; they sum to one. Empty without experts.",
        examples=[{"sequential": 0.4, "text": 0.6}],
    )
    memory: tuple[MemoryWeight, ...] = Field(description="What was read, most first.")
    nothing: dict[str, float] = Field(
        description="Attention weight of the empty slot by expert: how far it chose to read nothing.",
        examples=[{"sequential": 0.2, "text": 0.1}],
    )


class RecommendationResponse(Contract):
    """Items, best first, and where they come from."""

    recommendation_id: str | None = Field(
        None,
        description="The answer's own name, by which feedback can say that it led to an event; null where a history "
        "was sent, of which nothing is stored.",
        examples=["6f2c1b0e9d8a47c3b5f0e1d2c3b4a596"],
    )
    user_id: str | None = Field(description="The user it is for; null where a history was sent.", examples=["u1"])
    items: tuple[RecommendedItem, ...]
    strategy: Strategy
    model_version: str = Field(description="The model that answered.", examples=["job-7-round-120"])
    dataset: str = Field(description="The data set that this model was trained on.", examples=["demo"])
    round: int = Field(description="The training round of the model that answered.", examples=[120])
    ab_test: int | None = Field(None, description="The A/B test that this is an answer of.", examples=[None])
    arm: Literal["control", "treatment"] | None = Field(
        None, description="The arm of the test that the user is in; null without a test.", examples=[None]
    )
    offset: int = Field(0, description="How many better ones were skipped.")
    next: str | None = Field(
        None,
        description="Path of the next page, with the model version pinned, or null at the end.",
        examples=["/recommend/u1?k=10&offset=10&model=job-7-round-120"],
    )
    unknown_items: tuple[str, ...] = Field(
        (), description="Ids of the history or of `exclude` that the catalogue does not hold; they were left out."
    )
    explanation: Explanation | None = Field(None, description="What the answer was made from, if asked for.")


class BatchResponse(Contract):
    """The answers, in the order of the questions."""

    answers: tuple[RecommendationResponse, ...]


class SimilarItem(Contract):
    """An item beside another."""

    item_id: ItemId
    title: str = Field(description="The title, or the id where no title is known.", examples=["Ladyhawke"])
    genres: tuple[str, ...] = Field(examples=[["Adventure", "Fantasy", "Romance"]])
    year: int | None = Field(examples=[1985])
    similarity: float = Field(
        description="Cosine of the two items' vectors in the model's item matrix, -1 to 1.", examples=[0.83]
    )
    image_url: str | None = Field(None, description="Where its picture is, or null.", examples=["/items/1197/image"])


class SimilarItems(Contract):
    """The items nearest to one, nearest first; the item itself is left out."""

    item_id: ItemId
    title: str = Field(examples=["The Princess Bride"])
    items: tuple[SimilarItem, ...]
    model_version: str = Field(examples=["job-7-round-120"])
    dataset: str = Field(description="The data set that this model was trained on.", examples=["demo"])
    round: int = Field(examples=[120])
