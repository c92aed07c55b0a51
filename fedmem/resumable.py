"""What may change where a run goes on, by itself or as another job."""

from collections.abc import Collection

from fedmem.config import ExperimentConfig, PrivacyConfig
from fedmem.errors import CheckpointError, ConfigError

# How long a run goes on and where; another device may round differently.
RESUMABLE = {
    "device",
    "workers",
    "save_dir",
    "log_interval",
    "save_interval",
    "federated.num_rounds",
    "federated.patience",
    "flower.minimum_nodes",
    "flower.patience",
    "flower.wait",
}
CHANGEABLE = RESUMABLE | {"evaluation.eval_every"}  # of a model that goes on with other data, and is validated anew


def check_resumable(old: ExperimentConfig, new: ExperimentConfig) -> None:
    """Refuse to resume a run under a configuration that would change its numbers, or spend more than its budget.

    Raises:
        CheckpointError: naming the setting.
    """
    trouble = _spends_more(old, new) or _changed(old, new, "the run started", RESUMABLE)
    if trouble is not None:
        raise CheckpointError(f"{trouble}. Resume with the run's own configuration, or choose another --out.")


def check_continuable(old: ExperimentConfig, new: ExperimentConfig, job: int, *, newest: bool) -> None:
    """Refuse to continue a job under a configuration that it cannot have, or beyond its budget.

    Args:
        old: the job's.
        new: that of the job which continues it.
        job: its number, for the sentence.
        newest: whether its model goes on with newer data, or it itself with the same.

    Raises:
        ConfigError: naming the setting.
    """
    refuse_nodes(new)
    if newest:
        refuse_budgets(new.privacy)
    trouble = _spends_more(old, new) or _changed(old, new, f"job {job} began", CHANGEABLE if newest else RESUMABLE)
    if trouble is not None:
        raise ConfigError(f"{trouble}: leave it as job {job} has it, or train anew without start_from")


def refuse_nodes(config: ExperimentConfig) -> None:
    """Refuse to continue a job whose clients are at nodes.

    Raises:
        ConfigError: naming the setting.
    """
    if not config.clients_here:
        raise ConfigError(
            f"engine = {config.engine}: what nodes remember and have handed on belongs to their job, and "
            "no other can go on with it: train anew without start_from"
        )


def refuse_budgets(privacy: PrivacyConfig) -> None:
    """Refuse to train on newer data what has a budget for the data that it was trained on.

    Raises:
        ConfigError: naming the setting.
    """
    for name in ("weights_epsilon", "prototypes_epsilon", "metrics_epsilon", "transitions_epsilon"):
        value = getattr(privacy, name)
        if value is not None:
            raise ConfigError(
                f"privacy.{name} = {value} was spent on the data that the model was trained on, and newer data would "
                "spend more than that: train anew on the newest data"
            )


def _spends_more(old: ExperimentConfig, new: ExperimentConfig) -> str | None:
    before, now = old.federated.num_rounds, new.federated.num_rounds
    for part in ("weights", "prototypes"):
        epsilon, noise = getattr(old.privacy, f"{part}_epsilon"), getattr(old.privacy, f"{part}_noise")
        if epsilon is not None and noise is None and before != now:
            return (
                f"privacy.{part}_epsilon = {epsilon} is for the {before} rounds that were planned, "
                f"with noise computed for them, and federated.num_rounds cannot become {now}"
            )
    if old.privacy.metrics_epsilon is not None and before != now:
        return (
            f"privacy.metrics_epsilon = {old.privacy.metrics_epsilon} is for evaluations in the {before} rounds "
            f"that were planned, and federated.num_rounds cannot become {now}"
        )
    return None


def _changed(old: ExperimentConfig, new: ExperimentConfig, when: str, changeable: Collection[str]) -> str | None:
    after = new.settings()
    if old.clients_here and new.clients_here:  # processes and actors compute the same bits
        changeable = {*changeable, "engine"}
    for key, value in old.settings().items():
        if key not in changeable and after[key] != value:
            return f"{key} was {value!r} when {when} and is now {after[key]!r}"
    return None
