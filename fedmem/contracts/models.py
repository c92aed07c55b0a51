"""Model versions as they cross HTTP."""

from typing import Literal

from pydantic import Field

from fedmem.contracts.contract import Contract, Time
from fedmem.contracts.jobs import JobKind, JobState
from fedmem.contracts.service import InService

ModelState = Literal["in_service", "ready", "replaced"]


class ModelVersion(Contract):
    """A model that a job has left, and whether it is in service."""

    version: str = Field(description="Its name.", examples=["job-7-round-120"])
    job_id: int = Field(description="The job that left it.", examples=[7])
    dataset: str = Field(description="The data set it was trained on.", examples=["demo"])
    round: int = Field(description="The training round whose state it is.", examples=[120])
    created_at: Time
    active: bool = Field(description="Whether it is the one to serve to its data set's users.")
    serving: bool = Field(description="Whether it answers for its data set at this moment.")
    kept: bool = Field(description="Whether its checkpoint is still there.")
    state: ModelState = Field(
        description="`in_service`, the one to serve; `ready`, one that never served; `replaced`, one that did."
    )
    waits: str | None = Field(
        description="Why a ready one did not go into service when its job ended, in a sentence.", examples=[None]
    )
    equal: bool = Field(
        False, description="Whether it is equal to the one to serve, so that an A/B test would compare nothing."
    )
    refused: str | None = Field(description="Why it could not be served when that was last tried.", examples=[None])
    metrics: dict[str, dict[str, float]] = Field(
        description="Its metrics by split: validation, test.", examples=[{"test": {"HR@10": 0.295, "NDCG@10": 0.162}}]
    )


def why_ready(kind: JobKind, state: JobState, *, took_up: bool) -> str | None:
    """Say why a model that no gate held back never served, by its job; ``took_up`` another's with newer data."""
    if kind == "experiment":
        return "an experiment's model goes into service by hand alone"
    if state != "succeeded":
        return f"its job was {state}"
    return "no round of its job was better than the model that served, which stayed" if took_up else None


def tried_beside(control: str, test_id: int, share: float) -> str:
    """Say of a model that it is tried in an A/B test."""
    return f"A/B test {test_id}: answers {share:.0%} of the users of {control}"


class ModelPage(Contract):
    """Models, newest first."""

    models: tuple[ModelVersion, ...]
    serving: str | None = Field(
        description="The version that answers at this moment where no data set is named; null if none does, or several "
        "data sets have one.",
        examples=["job-7-round-120"],
    )
    in_service: tuple[InService, ...] = Field(description="The versions that answer, by data set.")


class Activation(Contract):
    """A time in which a model was the one to serve."""

    dataset: str = Field(description="The data set whose users it served.", examples=["demo"])
    version: str = Field(description="The model.", examples=["job-7-round-120"])
    since: Time
    until: Time | None = Field(description="When another followed; null for the one that serves.")
    reason: str = Field(description="Why it went into service.", examples=["asked for by HTTP"])


class ModelHistory(Contract):
    """What served when, the newest first."""

    activations: tuple[Activation, ...]
