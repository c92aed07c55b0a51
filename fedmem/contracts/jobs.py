"""Training jobs as they cross HTTP."""

from typing import Literal

from pydantic import Field

from fedmem.config import ExperimentConfig
from fedmem.contracts.contract import PRINTABLE, Contract, Time

JobState = Literal["queued", "running", "paused", "succeeded", "failed", "stopped"]
DesiredState = Literal["running", "paused", "stopped"]
JobKind = Literal["training", "experiment"]
Split = Literal["train", "validation", "test", "system"]
LogLevel = Literal["INFO", "WARNING", "ERROR"]


class JobRequest(Contract):
    """What ``POST /jobs`` takes; the configuration is the same tree as the YAML's, and says only what differs."""

    dataset: str = Field(
        max_length=255, pattern=PRINTABLE, description="The name of an imported data set.", examples=["demo"]
    )
    config: ExperimentConfig = Field(
        ExperimentConfig(),
        description="The configuration, in the schema of configs/fedmem.yaml.",
        examples=[{"federated": {"num_rounds": 50}}],
    )
    kind: JobKind = Field(
        "training", description="A finished training job activates its best model; an experiment never does."
    )
    start_from: int | None = Field(
        None,
        ge=1,
        le=2**63 - 1,
        description="Continue from the last checkpoint of this job, on its data, for more rounds.",
    )


class Job(Contract):
    """One job: what was asked, what is wanted of it now, and how far it is."""

    id: int
    kind: JobKind
    dataset: str
    state: JobState
    desired_state: DesiredState
    round: int = Field(description="Rounds completed.")
    num_rounds: int = Field(description="Rounds at most; patience may end the job before.")
    best_round: int | None = Field(description="The round of the best validation HR@10 so far.")
    clients_done: int = Field(description="Clients trained in the round in progress.")
    clients_selected: int = Field(description="Clients of the round in progress.")
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    worker: str | None = Field(description="The trainer that holds the job's lease.")
    attempts: int = Field(description="How often a trainer took the job up.")
    start_from: int | None
    snapshot_digest: str | None = Field(description="SHA-256 of the data it trains on.")
    model_version: str | None = Field(description="The model a succeeded or stopped job has left.")
    message: str | None = Field(description="Why it ended, in a sentence.")
    config: ExperimentConfig
    config_refused: tuple[str, ...] = Field(
        (),
        description="Keys of its configuration that this version of FedMem refuses, because another one stored them; "
        "in `config` they have this version's defaults.",
        examples=[[]],
    )


class JobPage(Contract):
    """Jobs, newest first."""

    jobs: tuple[Job, ...]
    next: str | None = Field(description="Where the next page is, or null.")


class RoundMetrics(Contract):
    """What one round did, by split and name."""

    round: int
    finished_at: Time
    is_best: bool
    checkpoint: bool = Field(description="Whether its checkpoint is still kept.")
    metrics: dict[Split, dict[str, float]]


class JobMetrics(Contract):
    """Rounds after the one asked for, in order."""

    job_id: int
    state: JobState
    rounds: tuple[RoundMetrics, ...]


class LogLine(Contract):
    """A line of a job's log."""

    id: int
    time: Time
    level: LogLevel
    message: str


class JobLogs(Contract):
    """Lines after the one asked for, in order."""

    job_id: int
    lines: tuple[LogLine, ...]


class JobEvent(Contract):
    """One server-sent event: the job as it is now, with the rounds since the last event."""

    job: Job
    rounds: tuple[RoundMetrics, ...]
