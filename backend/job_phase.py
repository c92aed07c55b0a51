"""What a running job does, from its row: trainers report rounds and clients, which say when the rounds are over."""

from fedmem.config import ExperimentConfig
from fedmem.contracts.jobs import JobPhase
from fedmem.privacy.rounds_budget import RoundsBudget
from fedmem.storage.jobs import JobRow


def phase_of(row: JobRow, config: ExperimentConfig) -> JobPhase | None:
    """Say whether a job prepares, trains or tests; None where it does not run."""
    if row.state != "running":
        return None
    if row.snapshot_digest is None:
        return "preparing"
    return "testing" if _rounds_are_over(row, config) else "training"


def _rounds_are_over(row: JobRow, config: ExperimentConfig) -> bool:
    """Decide as ``fedmem.federated.server`` does: all rounds are done, patience has run out, or the budget is spent."""
    budget = RoundsBudget.of(config)
    most = min(row.num_rounds, budget.rounds) if budget else row.num_rounds
    return row.round >= most or _stale(row, config) >= config.federated.patience


def _stale(row: JobRow, config: ExperimentConfig) -> int:
    """Count the validations since the best one."""
    every = config.evaluation.eval_every
    return 0 if row.best_round is None else row.round // every - row.best_round // every
