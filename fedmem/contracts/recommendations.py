"""Recommendations as they cross HTTP."""

from pydantic import Field

from fedmem.contracts.contract import Contract


class RecommendedItem(Contract):
    """One item of an answer."""

    item_id: str
    title: str = Field(description="The title, or the id where no title is known.")
    genres: tuple[str, ...]
    year: int | None
    score: float = Field(description="Greater is better; comparable within one answer only.")


class RecommendationResponse(Contract):
    """Items, best first, and where they come from."""

    user_id: str
    items: tuple[RecommendedItem, ...]
    strategy: str = Field(description="`model`, `global_memory` (a new user) or `cold_model` (new, no global memory).")
    model_version: str
    round: int = Field(description="The training round of the model that answered.")
