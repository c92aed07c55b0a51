"""What a Recommender is asked and what it answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedmem.contracts import (
    Explanation,
    RecommendationResponse,
    RecommendedItem,
    ScoreParts,
    SimilarItem,
    SimilarItems,
)
from fedmem.contracts.recommendations import StrategyName
from fedmem.data.interactions import Item
from fedmem.errors import ConfigError
from fedmem.memory.local_memory import MemoryEntries

ImageUrl = Callable[[Item], str | None]


def no_image(item: Item) -> str | None:
    """Pictures are not served."""
    return None


@dataclass(frozen=True)
class Question:
    """One question, of a known user, of a new one, or of a history alone.

    Attributes:
        user_id: whose stored memory and preference text are read; None for a history alone.
        history: item ids, oldest first; None for what the model's snapshot knows of the user.
        since: item ids that came after ``history``, oldest first.
        memory: what is read instead of a stored or replayed memory.
        reads_memory: whether any memory is read, a user's own or the global one.
        k: how many items at most.
        offset: how many of the best to skip.
        category: only items of this genre.
        exclude: ids of items not to be recommended.
        include_seen: whether items of the history may be recommended; None for what the model was trained for.
        explain: whether the answer says what it is made of.
    """

    user_id: str | None = None
    history: Sequence[str] | None = None
    since: Sequence[str] = ()
    memory: MemoryEntries | None = None
    reads_memory: bool = True
    k: int = 10
    offset: int = 0
    category: str | None = None
    exclude: Sequence[str] = ()
    include_seen: bool | None = None
    explain: bool = False

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k = {self.k} is not positive; ask for at least one item")
        if self.offset < 0:
            raise ConfigError(f"offset = {self.offset} is below 0; use 0 for the first page")


@dataclass(frozen=True)
class ScoredItem:
    """A recommended item, its score, greater is better, and the score's parts if they were asked for."""

    item: Item
    score: float
    parts: ScoreParts | None = None

    def response(self, image_url: ImageUrl) -> RecommendedItem:
        """The item as it crosses HTTP."""
        return RecommendedItem(
            item_id=self.item.item_id,
            title=self.item.label,
            genres=self.item.genres,
            year=self.item.year,
            score=self.score,
            image_url=image_url(self.item),
            explanation=self.parts,
        )


@dataclass(frozen=True)
class Recommendation:
    """Items, best first, and where they come from.

    ``strategy`` is ``model`` (sequence and own memory), ``global_memory`` (fewer interactions than training asks for:
    the global abstract memory is the memory), ``prototypes`` (none at all: the global prototypes by their mass),
    ``cold_model`` (few or none, and no global memory) or ``no_memory`` (the question asked for none). ``more`` says
    whether another page follows.
    """

    items: tuple[ScoredItem, ...]
    strategy: StrategyName
    model_version: str
    dataset: str
    round: int
    offset: int = 0
    more: bool = False
    unknown_items: tuple[str, ...] = ()
    explanation: Explanation | None = None

    def response(
        self, user_id: str | None, *, next_page: str | None = None, image_url: ImageUrl = no_image
    ) -> RecommendationResponse:
        """The answer as it crosses HTTP; ``next_page`` is the path of the next page, for an answer with ``more``."""
        return RecommendationResponse(
            user_id=user_id,
            items=tuple(scored.response(image_url) for scored in self.items),
            strategy=self.strategy,
            model_version=self.model_version,
            dataset=self.dataset,
            round=self.round,
            offset=self.offset,
            next=next_page if self.more else None,
            unknown_items=self.unknown_items,
            explanation=self.explanation,
        )


@dataclass(frozen=True)
class SimilarTo:
    """The items nearest to one, nearest first, each with its cosine."""

    item: Item
    items: tuple[ScoredItem, ...]
    model_version: str
    dataset: str
    round: int

    def response(self, image_url: ImageUrl = no_image) -> SimilarItems:
        """The answer as it crosses HTTP."""
        items = tuple(
            SimilarItem(
                item_id=near.item.item_id,
                title=near.item.label,
                genres=near.item.genres,
                year=near.item.year,
                similarity=near.score,
                image_url=image_url(near.item),
            )
            for near in self.items
        )
        return SimilarItems(
            item_id=self.item.item_id,
            title=self.item.label,
            items=items,
            model_version=self.model_version,
            dataset=self.dataset,
            round=self.round,
        )
