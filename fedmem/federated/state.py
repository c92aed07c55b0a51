"""What the server knows: its state between rounds, and the report of a round."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedmem.evaluation.metric_table import MetricTable
from fedmem.federated.messages import Arrays
from fedmem.federated.server_optimizers import OptimizerState
from fedmem.memory.prototypes import Prototypes
from fedmem.memory.transitions import TransitionCounts


@dataclass(frozen=True, eq=False)
class ServerState:
    """All that the server keeps between rounds, and all that a resume needs of it.

    Attributes:
        round: rounds completed.
        parameters: the global model that trains on.
        averaged: its moving average, which is evaluated and served.
        optimizer: moments of the server's optimiser.
        global_memory: the global abstract memory, or None where it is not used.
        transitions: the transition memory, what clients have handed on so far, or None where it is not used.
        new_transitions: what of it the last round has added.
        released: what was released of it with noise, once, where a budget asks for that.
        strength: its weight in the score, as the last validation chose it; 0 before the first.
        short_strengths: its weight after histories of up to so many interactions, where it is another.
        best_round: the round of the best validation so far, 0 before the first.
        best_metric: its NDCG@10, or what else stops training (``EvaluationConfig.stopping_metric``).
        stale: evaluations since then.
    """

    round: int
    parameters: Arrays
    averaged: Arrays
    optimizer: OptimizerState
    global_memory: Prototypes | None = None
    transitions: TransitionCounts | None = None
    new_transitions: TransitionCounts | None = None
    released: TransitionCounts | None = None
    strength: float = 0.0
    short_strengths: Mapping[int, float] = field(default_factory=dict)
    best_round: int = 0
    best_metric: float = -1.0
    stale: int = 0


@dataclass(frozen=True)
class RoundReport:
    """What one round did. ``metrics`` are the same whenever the round is run again; ``seconds`` by phase are not.

    ``without_transitions`` is the validation of the same model without the transition memory.
    """

    round: int
    metrics: Mapping[str, float]
    validation: MetricTable | None = None
    is_best: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)
    without_transitions: MetricTable | None = None
