"""What a Recommender answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from fedmem.contracts import (
    Explanation,
    RecommendationResponse,
    RecommendedItem,
    ScoreParts,
    SimilarItem,
    SimilarItems,
)
from fedmem.contracts.ab_tests import Arm
from fedmem.contracts.recommendations import StrategyName
from fedmem.data.interactions import Item

ImageUrl = Callable[[Item], str | None]


def no_image(item: Item) -> str | None:
    """Serve no pictures."""
    return None


class ScoredItem(NamedTuple):
    """A recommended item, its score, greater is better, and the score's parts if they were asked for."""

    item: Item
    score: float
    parts: ScoreParts | None = None

    def response(self, image_url: ImageUrl) -> RecommendedItem:
        """Convert to the HTTP contract."""
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
    the global abstract memory is the memory), ``popularity`` (none at all), ``prototypes`` (none at all, and no
    transition memory: the global prototypes by their mass),
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
        self,
        user_id: str | None,
        *,
        recommendation_id: str | None = None,
        arm: tuple[int, Arm] | None = None,
        next_page: str | None = None,
        image_url: ImageUrl = no_image,
    ) -> RecommendationResponse:
        """Convert to the HTTP contract; ``next_page`` is the path of the next page, for an answer with ``more``.

        ``arm`` is the A/B test of which it is, and the arm.
        """
        test, arm_name = arm or (None, None)
        return RecommendationResponse(
            recommendation_id=recommendation_id,
            ab_test=test,
            arm=arm_name,
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
        """Convert to the HTTP contract."""
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
