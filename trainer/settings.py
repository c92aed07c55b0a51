"""What the trainer service reads from its environment; `.env.example` documents every name."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedmem.errors import ConfigError
from fedmem.storage.engine import DEFAULT_URL


def load_settings(**given: object) -> "TrainerSettings":
    """The settings of the environment, with what was given instead.

    Raises:
        ConfigError: naming the variable and its value.
    """
    try:
        return TrainerSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigError(f"{problem['loc'][0]} = {problem['input']!r}: {problem['msg']}") from None


class TrainerSettings(BaseSettings):
    """Settings of one trainer process."""

    model_config = SettingsConfigDict(frozen=True, env_file=".env", extra="ignore", populate_by_name=True)

    database_url: str = Field(DEFAULT_URL, alias="DATABASE_URL", description="Where jobs and metrics are kept.")
    data_dir: Path = Field(
        Path("runs/service"), alias="FEDMEM_DATA_DIR", description="Checkpoints, shared with the backend."
    )
    lease_seconds: Annotated[float, Field(gt=0)] = Field(
        30.0, alias="FEDMEM_LEASE_SECONDS", description="How long a silent trainer keeps its job."
    )
    poll_seconds: Annotated[float, Field(gt=0)] = Field(
        1.0, alias="FEDMEM_POLL_SECONDS", description="Pause between looks for a queued job."
    )
    max_attempts: Annotated[int, Field(gt=0)] = Field(
        5, alias="FEDMEM_MAX_ATTEMPTS", description="Deaths without a finished round before a job counts as failed."
    )
    keep_every: Annotated[int, Field(gt=0)] = Field(
        100, alias="FEDMEM_KEEP_EVERY", description="Besides the best and the last, every n-th checkpoint is kept."
    )
    nice: Annotated[int, Field(ge=0, le=19)] = Field(
        10, alias="FEDMEM_TRAINER_NICE", description="Lower priority than serving: added to the process's niceness."
    )
