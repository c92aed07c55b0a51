"""Training jobs as they cross HTTP."""

from typing import Literal

from pydantic import Field

from fedmem.config import ExperimentConfig
from fedmem.contracts.contract import PRINTABLE, Contract, Time
from fedmem.contracts.privacy import PrivacyCost

JobState = Literal["queued", "running", "paused", "succeeded", "failed", "stopped"]
JobPhase = Literal["preparing", "training", "testing"]
DesiredState = Literal["running", "paused", "stopped"]
JobKind = Literal["training", "experiment"]
PromotionMode = Literal["auto", "gate", "manual"]
SnapshotChoice = Literal["newest", "same"]
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
        "training", description="A finished training job may put its best model into service; an experiment never does."
    )
    promotion: PromotionMode | None = Field(
        None,
        description="How the model of a finished training job goes into service: `gate` if it is not worse than the "
        "one that serves the data set and better than popularity, `auto` in any case, `manual` not by itself. Null: as "
        "FEDMEM_PROMOTION says.",
        examples=[None],
    )
    start_from: int | None = Field(
        None,
        ge=1,
        le=2**53 - 1,
        description="Continue this ended job of the same data set for more rounds; its rounds count in `num_rounds`.",
        examples=[None],
    )
    snapshot: SnapshotChoice = Field(
        "newest",
        description="What a job with `start_from` trains on. `newest`: the data set as it is now; the job's best model "
        "goes on, new users and items come in, and it is validated before the first round, so that it stays the best "
        "where no round is better. `same`: the data of then, from the last checkpoint; the numbers are those of one "
        "longer job.",
    )


class JobDefaults(Contract):
    """The settings of a job whose request says none."""

    dataset: str = Field(description="The data set.", examples=["demo"])
    config: ExperimentConfig = Field(
        description="FedMem's defaults, with what FEDMEM_JOB_CONFIG and the data set's import say instead."
    )


class Job(Contract):
    """One job: what was asked, what is wanted of it now, and how far it is."""

    id: int = Field(description="Its number.", examples=[7])
    kind: JobKind
    dataset: str = Field(description="The data set it trains on.", examples=["demo"])
    state: JobState
    desired_state: DesiredState
    phase: JobPhase | None = Field(
        None,
        description="What it does while it is `running`: `preparing` reads its data and encodes texts, `training` is "
        "the rounds, and `testing` follows the last one: its best model is tested, and judged beside the one that "
        "serves. Null where it does not run.",
        examples=["training"],
    )
    round: int = Field(description="Rounds completed.", examples=[31])
    num_rounds: int = Field(description="Rounds at most; patience may end the job before.", examples=[150])
    best_round: int | None = Field(description="The round of the best validation NDCG@10 so far.", examples=[30])
    clients_done: int = Field(description="Clients trained in the round in progress.", examples=[64])
    clients_selected: int = Field(description="Clients of the round in progress.", examples=[200])
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    worker: str | None = Field(description="The trainer that holds the job's lease.", examples=["host:4711:5f3a2b"])
    attempts: int = Field(description="How often a trainer took the job up.", examples=[1])
    start_from: int | None = Field(description="The job that it continues.", examples=[None])
    snapshot: SnapshotChoice | None = Field(
        None,
        description="What a job that continues another trains on: the `newest` data, or the `same` as that one.",
        examples=[None],
    )
    snapshot_digest: str | None = Field(description="SHA-256 of the data it trains on.", examples=["9f86d081884c7d65"])
    model_version: str | None = Field(
        description="The model a succeeded or stopped job has left.", examples=["job-7-round-120"]
    )
    promotion: PromotionMode | None = Field(
        description="How its model goes into service; null: as the trainer's FEDMEM_PROMOTION says.", examples=[None]
    )
    model_waits: str | None = Field(
        description="Why its model waits, ready, instead of serving, in a sentence; null where it does not, or nothing "
        "was compared.",
        examples=[None],
    )
    message: str | None = Field(description="Why it ended or waits, in a sentence.", examples=[None])
    config: ExperimentConfig
    config_refused: tuple[str, ...] = Field(
        (),
        description="Keys of its configuration that this version of FedMem refuses, because another one stored them; "
        "in `config` they have this version's defaults.",
        examples=[[]],
    )
    privacy: PrivacyCost | None = Field(
        None,
        description="What it costs a user by its end, known before it begins; null where nothing gets noise, and then "
        "nothing bounds what it gives away.",
    )


class RemovableJob(Contract):
    """What goes with a job that is removed."""

    job_id: int = Field(description="The job's number.", examples=[7])
    rounds: int = Field(description="Rounds whose metrics go.", examples=[31])
    model_version: str | None = Field(description="The model that goes, or null.", examples=["job-7-round-30"])
    size: int = Field(description="What its folder takes on the disk, in bytes.", examples=[48234496])


class JobPage(Contract):
    """Jobs, newest first."""

    jobs: tuple[Job, ...]
    next: str | None = Field(description="Where the next page is, or null.", examples=["/jobs?cursor=7&limit=50"])


class RoundMetrics(Contract):
    """What one round did, by split and name."""

    round: int = Field(description="0 is the state before training.", examples=[31])
    finished_at: Time
    is_best: bool
    checkpoint: bool = Field(description="Whether its checkpoint is still kept.")
    metrics: dict[Split, dict[str, float]] = Field(
        description="Values by split and name.",
        examples=[{"train": {"recommendation_loss": 0.41}, "validation": {"HR@10": 0.29}}],
    )


class JobMetrics(Contract):
    """Rounds after the one asked for, in order."""

    job_id: int = Field(description="The job's number.", examples=[7])
    state: JobState
    rounds: tuple[RoundMetrics, ...]


class LogLine(Contract):
    """A line of a job's log."""

    id: int = Field(description="Grows from line to line.", examples=[12])
    time: Time
    level: LogLevel
    message: str = Field(examples=["round 31 of 150 is done"])


class JobLogs(Contract):
    """Lines after the one asked for, in order."""

    job_id: int = Field(description="The job's number.", examples=[7])
    lines: tuple[LogLine, ...]


class JobEvent(Contract):
    """One server-sent event: the job as it is now, with the rounds since the last event."""

    job: Job
    rounds: tuple[RoundMetrics, ...]
