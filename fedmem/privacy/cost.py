"""What a run costs a user in all: the budgets of what is protected, added up."""

from dataclasses import dataclass

from fedmem.config import ExperimentConfig
from fedmem.privacy.weights_budget import WeightsBudget


@dataclass(frozen=True)
class Cost:
    """(ε, δ) for a user, by basic composition (Dwork and Roth, 2014, theorem 3.16), and what of a run they hold for."""

    epsilon: float
    delta: float
    protected: tuple[str, ...]


def cost(config: ExperimentConfig, *, weights: float, transitions: float) -> Cost | None:
    """Add up what is spent on the weights and on the transition memory; None where nothing is."""
    spent = {name: epsilon for name, epsilon in (("weights", weights), ("transitions", transitions)) if epsilon}
    return Cost(sum(spent.values()), config.delta_each * len(spent), tuple(spent)) if spent else None


def planned(config: ExperimentConfig) -> Cost | None:
    """Compute what a run of all its rounds will cost; None where nothing gets noise."""
    budget = WeightsBudget.of(config)
    transitions = config.privacy.transitions_epsilon if config.releases_transitions else None
    return cost(config, weights=budget.spent(budget.rounds) if budget else 0.0, transitions=transitions or 0.0)
