"""The budget of a run for its metrics: how much noise evaluations get, and what they have spent.

In an evaluation every user takes part, with one number between 0 and 1 for each metric at each weight of the transition
memory, so that a user changes the sums by the square root of how many these are. What clients measure while they train
is not sent.
"""

import math
from dataclasses import dataclass
from functools import cached_property

from fedmem.config import WITHOUT_CUTOFF, EvaluationConfig, ExperimentConfig
from fedmem.privacy.accountant import Accountant, noise_for_rounds


@dataclass(frozen=True)
class MetricsBudget:
    """What a run may spend on its metrics.

    Attributes:
        epsilon: the most that all evaluations spend.
        delta: their δ.
        every: rounds between validations.
        planned: rounds that are asked for.
        figures: numbers that a user has a part in, in one evaluation.
    """

    epsilon: float
    delta: float
    every: int
    planned: int
    figures: int

    @classmethod
    def of(cls, config: ExperimentConfig) -> "MetricsBudget | None":
        """Read a configuration; None where metrics have no budget."""
        if config.privacy.metrics_epsilon is None:
            return None
        every, planned = config.evaluation.eval_every, config.federated.num_rounds
        strengths = {0.0, *config.transitions.strengths} if config.uses_transitions else {0.0}
        figures = figures_of(config.evaluation, len(strengths))
        return cls(config.privacy.metrics_epsilon, config.delta_each, every, planned, figures)

    @cached_property
    def noise(self) -> float:
        """The standard deviation of the noise on each sum, over users."""
        return self._multiplier * math.sqrt(self.figures)

    def spent(self, rounds: int) -> float:
        """Compute the ε that is spent after so many rounds; the test at the end counts from the start."""
        return Accountant(self._multiplier, 1.0, self.delta).epsilon(self._evaluations(rounds))

    @cached_property
    def _multiplier(self) -> float:
        return noise_for_rounds(self.epsilon, self.delta, 1.0, self._evaluations(self.planned))

    def _evaluations(self, rounds: int) -> int:
        return rounds // self.every + 1


def figures_of(asked: EvaluationConfig, strengths: int) -> int:
    """Count the numbers that a user has a part in, in one evaluation: each metric at each of the strengths."""
    metrics = sum(1 if name in WITHOUT_CUTOFF else len(set(asked.k_list)) for name in set(asked.metrics))
    return metrics * strengths
