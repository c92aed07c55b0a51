"""The online evaluation as it crosses HTTP: what became of the answers that were noted."""

from pydantic import Field

from fedmem.contracts.contract import Contract, Time


class Rate(Contract):
    """A share with its 95 % interval (Wilson's score interval)."""

    value: float = Field(examples=[0.12])
    low: float = Field(description="The interval's lower end.", examples=[0.1])
    high: float = Field(description="The interval's upper end.", examples=[0.14])


class OnlineGroup(Contract):
    """Answers that have something in common."""

    name: str = Field(description="The model, the strategy, or the position in the list.", examples=["job-7-round-120"])
    answers: int = Field(
        description="How many answers were noted; by position, those that had an item there.", examples=[1200]
    )
    pending: int = Field(
        description="How many of them are so new that what their users do next still counts for them.", examples=[80]
    )
    clicks: int = Field(description="How many led to a click.", examples=[144])
    hits: int = Field(description="How many led to an interaction with a recommended item.", examples=[60])
    worth: float = Field(description="The sum of the weights of the events that these hits were.", examples=[60.0])
    click_rate: Rate | None = Field(description="Clicks of answers; null without any.")
    hit_rate: Rate | None = Field(description="Hits of answers; null without any.")


class OnlineEvaluation(Contract):
    """What became of the noted answers of a data set."""

    dataset: str = Field(examples=["demo"])
    since: Time
    share: float = Field(
        description="The share of answers that are noted at present (FEDMEM_IMPRESSIONS).", examples=[0.1]
    )
    attribution_hours: float = Field(
        description="Hours after an answer in which a click or an interaction counts for it.", examples=[24.0]
    )
    by_version: tuple[OnlineGroup, ...] = Field(description="By the model that answered.")
    by_strategy: tuple[OnlineGroup, ...] = Field(description="By what answered.")
    by_position: tuple[OnlineGroup, ...] = Field(description="By the place of the item in the list, from 1 on.")
