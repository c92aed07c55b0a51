"""What a run costs a user in all: the budgets of what is protected, added up."""

from dataclasses import dataclass

from fedmem.config import ExperimentConfig
from fedmem.privacy.metrics_budget import MetricsBudget
from fedmem.privacy.rounds_budget import RoundsBudget, checked_budget


@dataclass(frozen=True)
class Cost:
    """(ε, δ) for a user, by basic composition (Dwork and Roth, 2014, theorem 3.16), and what of a run they hold for."""

    epsilon: float
    delta: float
    protected: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Say what all budgets of a run will cost together, before it starts."""
        *others, last = self.protected
        return (
            f"all budgets together will spend epsilon {self.epsilon:.3g} at delta {self.delta:g} for a user, on "
            f"{' and '.join(filter(None, (', '.join(others), last)))} alone"
        )


def cost(
    config: ExperimentConfig, *, weights: float, transitions: float, prototypes: float = 0.0, metrics: float = 0.0
) -> Cost | None:
    """Add up what is spent on weights, prototypes, the transition memory and metrics; None where nothing is."""
    parts = {"weights": weights, "prototypes": prototypes, "transitions": transitions, "metrics": metrics}
    spent = {name: epsilon for name, epsilon in parts.items() if epsilon}
    releases = bool(weights or prototypes) + bool(transitions) + bool(metrics)
    return Cost(sum(spent.values()), config.delta_each * releases, tuple(spent)) if spent else None


def planned(config: ExperimentConfig) -> Cost | None:
    """Compute what a run of all its rounds will cost; None where nothing gets noise."""
    budget = RoundsBudget.of(config)
    spent = budget.spent(budget.rounds) if budget else {"weights": 0.0}
    transitions = config.privacy.transitions_epsilon if config.releases_transitions else None
    metrics = MetricsBudget.of(config)
    evaluated = metrics.spent(budget.rounds) if budget and metrics else 0.0
    return cost(config, transitions=transitions or 0.0, metrics=evaluated, **spent)


def before_start(config: ExperimentConfig) -> list[str]:
    """Say what a run will cost a user: its rounds with their noise, and all budgets together; nothing without noise.

    Raises:
        ConfigError: as ``checked_budget``.
    """
    budget, total = checked_budget(config), planned(config)
    return [each.sentence for each in (budget, total) if each]
