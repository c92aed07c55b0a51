"""Model versions as they cross HTTP."""

from pydantic import Field

from fedmem.contracts.contract import Contract, Time


class ModelVersion(Contract):
    """A model that a job has left, and whether it is in service."""

    version: str
    job_id: int
    dataset: str
    round: int
    created_at: Time
    active: bool = Field(description="Whether it is the one to serve.")
    kept: bool = Field(description="Whether its checkpoint is still there.")
    refused: str | None = Field(description="Why it could not be served when that was last tried.")
    metrics: dict[str, dict[str, float]] = Field(description="Its metrics by split: validation, test.")


class ModelPage(Contract):
    """Models, newest first."""

    models: tuple[ModelVersion, ...]
    serving: str | None = Field(description="The version that answers at this moment.")
