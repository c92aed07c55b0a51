"""What is wrong with a training that runs, and the remedy: the original's troubleshooting, read off a round."""

from collections.abc import Mapping

from fedmem.config import ExperimentConfig

Metrics = Mapping[str, float]

WRITING_ROUNDS = 20  # rounds beyond the warm-up in which memories may be empty
VALIDATIONS = 3  # after the first, in which the model may be no better than at that
LEAST_SHARE = 0.05  # of all gates' sum: an expert below it has no say


def training_warnings(
    config: ExperimentConfig, round_number: int, best_round: int | None, metrics: Metrics
) -> dict[str, str]:
    """Say by name what is wrong after a round, in sentences that end in a remedy; nothing is the usual case.

    Args:
        config: the run's configuration.
        round_number: the round.
        best_round: that of the best validation so far; None or 0 before the first.
        metrics: what the round has reported of training.
    """
    found = {
        "no validation": _validation(config, best_round),
        "memory not updated": _memory(config, round_number, metrics),
        "no convergence": _convergence(config, round_number, best_round),
        "an expert has no say": _experts(metrics),
        "a budget is of no use": _release(metrics),
    }
    return {name: f"{name}: {text}" for name, text in found.items() if text}


def _validation(config: ExperimentConfig, best_round: int | None) -> str | None:
    rounds, every = config.federated.num_rounds, config.evaluation.eval_every
    if best_round or rounds >= every:
        return None
    without = ", and serves without the transition memory, whose weight is chosen at a validation"
    return (
        f"the first would follow round {every}, and the training ends after round {rounds}: its model is that of the "
        f"last round{without if config.uses_transitions else ''}. Lower evaluation.eval_every = {every}, or raise "
        f"federated.num_rounds = {rounds}"
    )


def _memory(config: ExperimentConfig, round_number: int, metrics: Metrics) -> str | None:
    late = round_number >= config.fedmem.warmup_rounds + WRITING_ROUNDS
    if not (config.uses_memory and late) or metrics.get("memory_updates", 1):
        return None
    return (
        f"no memory was written in round {round_number}, because nothing was surprising enough. Lower "
        f"fedmem.surprise_threshold = {config.fedmem.surprise_threshold:g}, or set fedmem.surprise_quantile"
    )


def _convergence(config: ExperimentConfig, round_number: int, best_round: int | None) -> str | None:
    first = config.evaluation.eval_every
    if best_round != first or round_number < (1 + VALIDATIONS) * first:
        return None
    federated = config.federated
    return (
        f"by round {round_number} no validation was better than the first, of round {first}. Lower "
        f"federated.server_learning_rate = {federated.server_learning_rate:g} or training.learning_rate = "
        f"{config.training.learning_rate:g}, raise federated.local_epochs, and look at the data"
    )


def _experts(metrics: Metrics) -> str | None:
    gates = {name.removeprefix("gate_"): value for name, value in metrics.items() if name.startswith("gate_")}
    gates.pop("entropy", None)
    total = sum(gates.values())
    starved = [f"{name} ({value / total:.1%})" for name, value in gates.items() if value < LEAST_SHARE * total]
    if not starved:
        return None
    return (
        f"the router gives less than {LEAST_SHARE:.0%} of its weight to {', '.join(starved)}. It costs time and "
        "bytes and adds nothing: switch its modality off in features, or all of them by ablation.disable_moe=true"
    )


def _release(metrics: Metrics) -> str | None:
    spent = metrics.get("epsilon_transitions")
    if not spent or metrics.get("transition_strength", 1):  # a round that was not validated names no weight
        return None
    return (
        f"the released transition memory has cost epsilon {spent:g}, and the validation found no weight of it better "
        "than none, so that the model does not read it. Raise privacy.transitions_epsilon or leave it out, or add "
        "lower weights to transitions.strengths"
    )
