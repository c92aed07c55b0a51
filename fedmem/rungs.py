"""The rungs of the ladder and its controls: each a configuration that ``configs/`` has as a file of the same name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fedmem.config import ExperimentConfig, FederatedConfig
from fedmem.config_reader import merged, validate_config

# Pooled training may pass over all users this many times as often as the federated rungs, and validates this much
# more seldom.
POOLED_PASSES, POOLED_EVALUATION = 2.5, 2

IDS_ONLY_TITLE, NO_TEXT_TITLE = "SASRec, ids only", "FedMem-NoText"  # the models that read no item texts


@dataclass(frozen=True)
class Rung:
    """A rung: a configuration, whose run shows the model with the transition memory and without it.

    Attributes:
        name: that of its file in ``configs/``.
        title: what the model is called.
        settings: what it sets, by dotted name.
        without: what the same model without the transition memory is called, where the table is to show it.
        pooled: whether it trains on pooled data.
        rounds: how many rounds it trains, as a share of the configuration's.
    """

    name: str
    title: str
    settings: tuple[tuple[str, object], ...] = ()
    without: str | None = None
    pooled: bool = False
    rounds: float = 1.0


def _disabled(*parts: str) -> tuple[tuple[str, object], ...]:
    return tuple((f"ablation.disable_{part}", True) for part in parts)


_EXPERTS = (("ablation.disable_moe", False),)
_IDS_ONLY = tuple((f"features.{name}", "off") for name in ("text", "image", "preference_text"))

LADDER = (
    Rung("sasrec", IDS_ONLY_TITLE, (*_disabled("moe", "memory"), *_IDS_ONLY), pooled=True),
    Rung("centralised", "centralised SASRec", _disabled("moe", "memory"), pooled=True),
    Rung("transitions", "FedMem-Transitions", _disabled("moe"), without="FedAvg-SASRec"),
    Rung("fedmem_no_proto", "FedMem-NoProto", (*_EXPERTS, *_disabled("prototype_agg"))),
    Rung("fedmem_no_contrast", "FedMem-NoContrast", (*_EXPERTS, *_disabled("contrastive"))),
    Rung("fedmem_full", "FedMem-Full", _EXPERTS, without="FedMem-NoTransitions"),
)

_ORIGINAL_AVERAGING = (
    ("training.loss", "bpr"),
    ("training.optimizer", "adam"),
    ("training.learning_rate", 0.001),
    ("training.batch_size", 32),
    ("training.crop_probability", 0.0),
    ("federated.server_optimizer", "none"),
    ("federated.server_learning_rate", 1.0),
    ("federated.server_warmup_steps", 0),
    ("federated.server_averaging", 0.0),
)
_NO_TEXT = tuple((f"features.{name}", "off") for name in ("text", "preference_text"))

CONTROLS = (
    Rung("fedavg_original", "FedAvg, original", (*_disabled("moe", "memory"), *_ORIGINAL_AVERAGING), rounds=0.3),
    Rung("no_memory", "FedMem-NoMemory", (*_EXPERTS, *_disabled("memory"))),
    Rung("no_text", NO_TEXT_TITLE, (*_EXPERTS, *_NO_TEXT)),
    Rung("no_transitions", "the original's memory alone", (*_EXPERTS, *_disabled("transitions"))),
    Rung("random_memory", "FedMem, random memory", (*_EXPERTS, ("fedmem.memory_policy", "random"))),
    Rung("last_memory", "FedMem, last memory", (*_EXPERTS, ("fedmem.memory_policy", "last"))),
)

# In the order of a table: Full is the last, with which the others are compared.
RUNGS = (*LADDER[:-1], *CONTROLS, LADDER[-1])


def variants(
    config: ExperimentConfig, changes: Sequence[tuple[str, Sequence[object]]], base: Rung = LADDER[-1]
) -> list[Rung]:
    """List a rung with one setting changed at a time: one for each value of each key that is not the rung's own.

    Raises:
        ConfigError: if there is no such setting or it cannot have such a value.
    """
    settings, found = rung_config(base, config, 1, config.seed).settings(), []
    prefix = "" if base is LADDER[-1] else f"{base.name}-"
    for key, values in changes:
        for value in values:
            name, title = f"{prefix}{key}-{value}", f"{base.title}, {key} = {value}"
            rung = replace(base, name=name, title=title, settings=(*base.settings, (key, value)), without=None)
            rung_config(rung, config, 1, config.seed)  # refuses what cannot be set
            if settings[key] != value:
                found.append(rung)
    return found


def model_title(config: ExperimentConfig) -> str:
    """Name the model that a configuration trains: as the rung of which it sets most."""
    pooled, settings = config.federated.centralised_batch is not None, config.settings()
    fitting = [
        rung for rung in RUNGS if rung.pooled == pooled and all(settings[key] == value for key, value in rung.settings)
    ]
    rung = max(fitting, key=lambda each: len(each.settings), default=LADDER[-1])
    return rung.without if rung.without is not None and not config.uses_transitions else rung.title


@dataclass(frozen=True)
class PlannedRun:
    """One run of the ladder: a rung with one seed."""

    rung: Rung
    config: ExperimentConfig

    @property
    def name(self) -> str:
        """The directory's name."""
        return f"{self.rung.name}-{self.config.seed}"


def planned_runs(
    config: ExperimentConfig, num_clients: int, rungs: Sequence[Rung], seeds: Sequence[int]
) -> list[PlannedRun]:
    """List every run, a whole ladder per seed; ``config`` is FedMem-Full's but for the switches of the rungs."""
    return [PlannedRun(rung, rung_config(rung, config, num_clients, seed)) for seed in seeds for rung in rungs]


def rung_config(rung: Rung, config: ExperimentConfig, num_clients: int, seed: int) -> ExperimentConfig:
    """Turn a configuration into the rung's; ``num_clients`` take part in training.

    Raises:
        ConfigError: if the configuration demands what the rung turns off.
    """
    tree = config.model_dump() | {"seed": seed}
    for key, value in rung.settings:
        *sections, name = key.split(".")
        tree = merged(tree, {sections[0]: {name: value}} if sections else {name: value})
    tree["federated"]["num_rounds"] = max(1, round(rung.rounds * config.federated.num_rounds))
    if rung.pooled:
        tree["federated"] |= _pooled(config.federated, num_clients)
        tree["evaluation"]["eval_every"] = _passes(config.federated, POOLED_EVALUATION * config.evaluation.eval_every)
    return validate_config(tree, f"the rung {rung.name}")


def _pooled(config: FederatedConfig, num_clients: int) -> dict[str, Any]:
    """Train all users in every round, in mini-batches as large as a federated rung's clients of a round."""
    return {
        "client_fraction": 1.0,
        "centralised_batch": max(1, round(config.client_fraction * num_clients)),
        "num_rounds": _passes(config, POOLED_PASSES * config.num_rounds),
    }


def _passes(config: FederatedConfig, rounds: float) -> int:
    """Convert federated rounds to passes over all users, at least one."""
    return max(1, round(config.client_fraction * rounds))
