"""A/B tests as they cross HTTP."""

from typing import Annotated, Literal

from pydantic import Field

from fedmem.contracts.contract import PRINTABLE, Contract, Time
from fedmem.contracts.online import Rate

Arm = Literal["control", "treatment"]
Version = Annotated[str, Field(max_length=255, pattern=PRINTABLE, examples=["job-8-round-90"])]


class AbTestRequest(Contract):
    """What ``POST /ab-tests`` takes."""

    treatment: Version = Field(description="The model to try beside the one in service of its data set.")
    share: float = Field(0.5, gt=0, lt=1, description="The share of the users whom it answers.", examples=[0.5])


class ArmResult(Contract):
    """What the users of one arm did, of those of whom an answer was noted.

    A user is judged `attribution_hours` after the first of these answers: by then, or not.
    """

    arm: Arm = Field(description="`control`, the model in service, or `treatment`, the one that is tried.")
    model_version: str = Field(examples=["job-7-round-120"])
    users: int = Field(description="Users who are judged.", examples=[5210])
    waiting: int = Field(description="Users who are not yet: their time is not over.", examples=[340])
    hits: int = Field(description="Of those judged, who took something that was recommended.", examples=[612])
    clicks: int = Field(description="Of those judged, who clicked on something.", examples=[1430])
    hit_rate: Rate | None = Field(description="Hits of users judged; null without any.")
    click_rate: Rate | None = Field(description="Clicks of users judged; null without any.")


class Effect(Contract):
    """The treatment's share of users minus the control's."""

    value: float = Field(examples=[0.021])
    low: float = Field(
        description="The lower end of the 95 % interval, which holds however often it is looked at.", examples=[0.004]
    )
    high: float = Field(description="The upper end.", examples=[0.038])
    real: bool = Field(description="Whether the interval leaves zero out.")


class AbTest(Contract):
    """Two models that share a data set's users, and what these did."""

    id: int = Field(examples=[1])
    dataset: str = Field(examples=["demo"])
    share: float = Field(description="The share of the users whom the treatment answers.", examples=[0.5])
    started_at: Time
    ended_at: Time | None = Field(description="null as long as it runs.")
    ended_because: str | None = Field(description="Why it ended, in a sentence.", examples=[None])
    attribution_hours: float = Field(description="Hours after which a user is judged.", examples=[24.0])
    control: ArmResult
    treatment: ArmResult
    hits: Effect | None = Field(description="The difference in hits; null with too few users.")
    clicks: Effect | None = Field(description="The difference in clicks; null with too few users.")
    verdict: str = Field(
        description="What can be said by now, in a sentence.",
        examples=["no difference is shown: hits -0.010 to +0.021, 95 % interval"],
    )


class AbTestList(Contract):
    """Tests, the newest first."""

    tests: tuple[AbTest, ...]
