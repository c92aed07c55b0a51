"""The services' own state as it crosses HTTP."""

from typing import Literal

from pydantic import Field

from fedmem.config import Repeats
from fedmem.contracts.contract import Contract, Time


class Live(Contract):
    """The process answers."""

    status: Literal["live"] = "live"


class RunningTest(Contract):
    """An A/B test that splits a data set's users at this moment."""

    id: int = Field(description="Its number.", examples=[1])
    treatment: str = Field(description="The model that answers its share of the users.", examples=["job-8-round-90"])
    share: float = Field(description="The share, between 0 and 1.", examples=[0.5])


class InService(Contract):
    """The model that answers for a data set."""

    dataset: str = Field(description="The data set.", examples=["demo"])
    model_version: str = Field(description="Its model.", examples=["job-7-round-120"])
    in_memory: bool = Field(description="Whether it is in memory; one that is not is loaded once it is asked.")
    default: bool = Field(description="Whether it answers requests that name no data set.")
    ab_test: RunningTest | None = Field(None, description="The A/B test in which another answers a share of the users.")


class Ready(Contract):
    """The database is at this version's schema, and a model answers."""

    status: Literal["ready"] = "ready"
    model_version: str | None = Field(
        description="The model that answers for the data set that was asked for, or that is meant where none is named; "
        "null where none is named, and several are in service.",
        examples=["job-7-round-120"],
    )
    dataset: str | None = Field(description="The data set that this model was trained on.", examples=["demo"])
    in_service: tuple[InService, ...] = Field(description="The models of all data sets that have one.")
    warnings: tuple[str, ...] = Field((), description="What an operator is to look at, in sentences.", examples=[[]])


class Trainer(Contract):
    """A trainer process."""

    worker: str = Field(description="Host, process number and a random part.", examples=["host-4711-5f3a"])
    alive: bool = Field(description="Whether it was heard of lately.")
    started_at: Time
    seen_at: Time
    job_id: int | None = Field(description="The job it trains.", examples=[7])


class TrainerList(Contract):
    """Trainers that were ever seen and did not take their leave, the one heard of last first."""

    trainers: tuple[Trainer, ...]


class Dataset(Contract):
    """An imported data set."""

    name: str = Field(examples=["demo"])
    source: str = Field(description="The file or folder of the last import.", examples=["data/ml-100k"])
    imported_at: Time
    users: int = Field(examples=[943])
    items: int = Field(examples=[1682])
    interactions: int = Field(examples=[100000])
    repeats: Repeats | None = Field(
        description="`offer` where users may be offered again what they have taken, which jobs on it begin with; null "
        "where no import has said it.",
        examples=["hide"],
    )


class DatasetList(Contract):
    """Data sets by name."""

    datasets: tuple[Dataset, ...]
