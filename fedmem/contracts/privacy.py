"""What a job costs its users, and what attacks find out of what clients hold, as HTTP and ``--json`` have it."""

from typing import Literal

from pydantic import Field

from fedmem.contracts.contract import Contract

NODES_ARE_NOT_RECORDED = (
    "what nodes send cannot be recorded by the server, which has none of their users: run the same job in the "
    "simulation (engine: simulation), on data of your own, and audit that one"
)

_OF_NODES = (
    "crossed of each node, never masked: its name, how many users it has, which of them (by number) are long enough to "
    "train, its CPU seconds and the type of an error"
)
_OF_SUMS = "of how many nodes its owner wants a sum, and of which nodes one was that is made again"


def told_of_nodes(*, masked: bool) -> str:
    """Say what crosses of a node in the clear, whether or not it masks the rest."""
    return f"{_OF_NODES}; {_OF_SUMS}" if masked else _OF_NODES


class Leak(Contract):
    """What one attack finds out."""

    attack: str = Field(description="Its name.", examples=["interaction"])
    what: str = Field(
        description="What it finds out, and from what.", examples=["Items of a history, from the rows of one update"]
    )
    measure: Literal["recall", "AUC", "share"] = Field(
        description="`recall` of what is guessed, area under the ROC curve, or share of right guesses.",
        examples=["AUC"],
    )
    measured: float = Field(description="The attack's success.", examples=[0.97])
    chance: float = Field(description="The success of guessing.", examples=[0.5])
    popularity: float | None = Field(
        description="The success of guessing what is popular, where items are guessed.", examples=[0.68]
    )


class LeakReport(Contract):
    """All attacks on the messages of some clients of a job."""

    job_id: int = Field(description="The job's number.", examples=[7])
    round: int = Field(description="The round after which the clients took part once more.", examples=[150])
    clients: int = Field(description="How many clients were attacked.", examples=[100])
    cohort: int = Field(default=20, description="How many clients' messages a decoded sum is made of.", examples=[20])
    secure_sums: bool = Field(
        default=False, description="Whether a client's own message was masked, so that only sums could be read."
    )
    leaks: tuple[Leak, ...]


class PrivacyCost(Contract):
    """(ε, δ)-differential privacy for a user, of what of a job is protected; all else is not."""

    epsilon: float = Field(description="The ε that all rounds will have spent.", examples=[8.0])
    delta: float = Field(description="δ, of all budgets together.", examples=[1e-6])
    protected: tuple[str, ...] = Field(
        description="What it holds for: `weights`, `prototypes`, `transitions`, `metrics`; for nothing else.",
        examples=[["weights"]],
    )
