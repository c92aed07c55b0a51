"""Schedules as they cross HTTP."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from fedmem.config import ExperimentConfig
from fedmem.contracts.contract import PRINTABLE, Contract, Time
from fedmem.contracts.jobs import JobState, PromotionMode
from fedmem.recurrence import check_recurrence

ROUNDS = 20
HOW_MODELS_SERVE = "How the models go into service, as in a job's request. Null: as FEDMEM_PROMOTION says."


def _checked_cron(cron: str) -> str:
    check_recurrence(cron, "UTC")
    return cron


def _checked_zone(timezone: str) -> str:
    check_recurrence("0 0 * * *", timezone)
    return timezone


Cron = Annotated[
    str,
    AfterValidator(_checked_cron),
    Field(
        max_length=255,
        pattern=PRINTABLE,
        description="When: minute, hour, day of the month, month, day of the week, as in a crontab. In an hour that a "
        "change of the clock leaves out it is due right after it, in one that comes twice it is due once.",
        examples=["0 3 * * *"],
    ),
]
Timezone = Annotated[
    str,
    AfterValidator(_checked_zone),
    Field(
        max_length=255, pattern=PRINTABLE, description="In which the times are read.", examples=["Europe/Berlin", "UTC"]
    ),
]
Rounds = Annotated[
    int,
    Field(
        ge=1, le=1_000_000, description="For how many rounds the model in service goes on each time.", examples=[ROUNDS]
    ),
]


class ScheduleRequest(Contract):
    """What ``POST /schedules`` takes."""

    dataset: str = Field(
        max_length=255, pattern=PRINTABLE, description="The name of an imported data set.", examples=["demo"]
    )
    cron: Cron
    timezone: Timezone = "UTC"
    rounds: Rounds = ROUNDS
    config: ExperimentConfig = Field(
        ExperimentConfig(),
        description="The configuration of a first job, where no model serves the data set; others have the model's.",
        examples=[{"federated": {"num_rounds": 200}}],
    )
    promotion: PromotionMode | None = Field(None, description=HOW_MODELS_SERVE, examples=[None])


class ScheduleUpdate(Contract):
    """What ``PATCH /schedules/{id}`` takes: what is left out stays as it is."""

    cron: Cron | None = None
    timezone: Timezone | None = None
    rounds: Rounds | None = None
    promotion: PromotionMode | None = Field(None, description=HOW_MODELS_SERVE, examples=["gate"])
    paused: bool | None = Field(
        None, description="Whether it rests. What was missed while it did is not made up for.", examples=[True]
    )

    @model_validator(mode="after")
    def _only_promotion_may_be_null(self) -> Self:
        nulls = [name for name in self.model_fields_set if name != "promotion" and getattr(self, name) is None]
        if nulls:
            raise ValueError(f"{nulls[0]} is null: leave it out, and it stays as it is")
        return self


class Schedule(Contract):
    """One schedule, when it is due, and what became of it last."""

    id: int = Field(description="Its number.", examples=[1])
    dataset: str = Field(description="The data set whose model goes on.", examples=["demo"])
    cron: str = Field(description="When, as in a crontab.", examples=["0 3 * * *"])
    timezone: str = Field(description="In which the times are read.", examples=["UTC"])
    rounds: int = Field(description="For how many rounds the model goes on each time.", examples=[20])
    promotion: PromotionMode | None = Field(description=HOW_MODELS_SERVE, examples=[None])
    paused: bool
    created_at: Time
    next_at: Time | None = Field(
        description="When it is due; a time that has passed was missed, and is made up for once a trainer runs or the "
        "last job has ended. Null while it is paused."
    )
    last_at: Time | None = Field(description="When it was followed last.")
    last_job: int | None = Field(description="The job that it queued last.", examples=[12])
    last_job_state: JobState | None
    trouble: str | None = Field(
        description="What is wrong, in a sentence: why no job could be queued, or the last one failed, or its model "
        "waits.",
        examples=[None],
    )
    config: ExperimentConfig = Field(description="The configuration of a first job, where no model serves.")


class ScheduleList(Contract):
    """All schedules, in the order in which they were added."""

    schedules: tuple[Schedule, ...]
