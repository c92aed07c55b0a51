"""What a running job does, from its row: trainers report rounds and clients, which say when they begin and are over."""

from fedmem.config import ExperimentConfig
from fedmem.contracts.jobs import JobPhase
from fedmem.privacy.rounds_budget import RoundsBudget
from fedmem.storage.jobs import JobRow


def phase_of(row: JobRow, config: ExperimentConfig) -> JobPhase | None:
    """Say whether a job prepares, trains or tests; None where it does not run."""
    if row.state != "running":
        return None
    if not row.round and not row.clients_selected:  # texts are encoded when the snapshot has its name already
        return "preparing"
    return "testing" if _rounds_are_over(row, config) else "training"


def _rounds_are_over(row: JobRow, config: ExperimentConfig) -> bool:
    budget = RoundsBudget.of(config)
    spent = budget is not None and row.round >= budget.rounds
    return spent or config.federated.are_over(row.round, _stale(row, config))


def _stale(row: JobRow, config: ExperimentConfig) -> int:
    """Count the validations since the best one."""
    every = config.evaluation.eval_every
    return 0 if row.best_round is None else row.round // every - row.best_round // every
