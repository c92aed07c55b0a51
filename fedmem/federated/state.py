"""What the server knows: its state between rounds, and the report of a round."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedmem.evaluation.metric_table import MetricTable
from fedmem.federated.messages import Arrays
from fedmem.federated.server_optimizers import OptimizerState
from fedmem.memory.prototypes import Prototypes


@dataclass(frozen=True, eq=False)
class ServerState:
    """All that the server keeps between rounds, and all that a resume needs of it.

    Attributes:
        round: rounds completed.
        parameters: the global model that trains on.
        averaged: its moving average, which is evaluated and served.
        optimizer: moments of the server's optimiser.
        global_memory: the global abstract memory, or None where it is not used.
        best_round: the round of the best validation so far, 0 before the first.
        best_metric: its HR@10.
        stale: evaluations since then.
    """

    round: int
    parameters: Arrays
    averaged: Arrays
    optimizer: OptimizerState
    global_memory: Prototypes | None = None
    best_round: int = 0
    best_metric: float = -1.0
    stale: int = 0


@dataclass(frozen=True)
class RoundReport:
    """What one round did. ``metrics`` are the same whenever the round is run again; ``seconds`` by phase are not."""

    round: int
    metrics: Mapping[str, float]
    validation: MetricTable | None = None
    is_best: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)
