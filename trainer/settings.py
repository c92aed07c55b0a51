"""The trainer's settings, from the environment or a file ``.env``; ``.env.example`` lists them all."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from fedmem.contracts.jobs import PromotionMode
from fedmem.storage.settings import StorageSettings


class Settings(StorageSettings):
    """Where a trainer finds jobs, where it writes, and how it holds on to what it trains."""

    lease_seconds: PositiveFloat = Field(30.0, description="Seconds after which a silent trainer's job is another's.")
    poll_seconds: PositiveFloat = Field(1.0, description="Seconds between an idle trainer's looks for a queued job.")
    max_attempts: PositiveInt = Field(
        5, description="How often trainers may die in a row, without a round between, before a job counts as failed."
    )
    keep_every: PositiveInt = Field(
        100, description="Besides the best and the last checkpoint of a job, every n-th is kept."
    )
    keep_jobs: PositiveInt | None = Field(
        None,
        description="The most ended jobs that are kept, with their models and folders; unset, all. Never removed are "
        "those whose model is in service, or would be after a rollback.",
    )
    keep_jobs_days: PositiveFloat | None = Field(
        None, description="For how many days after its end a job is kept, likewise; unset, for ever."
    )
    promotion: PromotionMode = Field(
        "gate",
        description="How the model of a finished training job goes into service, unless the job says it: gate if, on "
        "the newest data, it is not worse than the one that serves and better than popularity; auto in any case; "
        "manual not by itself.",
    )
    trainer_nice: Annotated[int, Field(ge=0, le=19)] = Field(
        10, description="What is added to a trainer's niceness, so that serving stays quick beside it."
    )
