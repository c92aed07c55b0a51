"""What no run may begin with, although one that was begun is read, served, evaluated and goes on."""

from fedmem.config import ExperimentConfig
from fedmem.errors import ConfigError
from fedmem.privacy.rounds_budget import checked_budget
from fedmem.secure_sums.session import LEAST_SHARE


def check_startable(config: ExperimentConfig) -> None:
    """Refuse to begin a run whose budget would buy nothing, or whose secure sums would hide too little.

    Raises:
        ConfigError: naming the settings.
    """
    if config.secure_sums.enabled and config.secure_sums.threshold < LEAST_SHARE:
        raise ConfigError(
            f"secure_sums.threshold = {config.secure_sums.threshold}: a server that tells clients different things of "
            f"who is gone could read sums of a few of them. Set it to {LEAST_SHARE} or more"
        )
    if config.releases_transitions:
        _check_rounds(config)
        _check_paid(config)


def _check_rounds(config: ExperimentConfig) -> None:
    """Refuse fewer rounds than the first validation needs that reads what is released."""
    if config.federated.num_rounds < config.first_release_validation:
        raise ConfigError(
            f"federated.num_rounds = {config.federated.num_rounds} with privacy.transitions_epsilon: the transition "
            f"memory is released after round {config.release_round}, when 99 % of the clients are expected to be in "
            f"it, and the first validation that reads it is of round {config.first_release_validation}: no model of "
            f"an earlier round has it. Set federated.num_rounds to {config.first_release_validation} or more, raise "
            "federated.client_fraction, lower evaluation.eval_every, or leave the budget out"
        )


def _check_paid(config: ExperimentConfig) -> None:
    """Refuse budgets for what every round releases that end before that validation."""
    budget, wanted = checked_budget(config), config.first_release_validation
    if budget and budget.rounds < wanted:
        raise ConfigError(
            f"privacy.transitions_epsilon = {config.privacy.transitions_epsilon}: the first validation that reads what "
            f"is released is of round {wanted}, and a round after round {budget.rounds} would spend more than "
            f"{budget.settings}: raise that, or leave one of them out"
        )
