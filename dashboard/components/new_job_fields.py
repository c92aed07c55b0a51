"""The settings that are most often changed, as fields of the form; all others are written as YAML."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedmem.config import ExperimentConfig


@dataclass(frozen=True)
class Field:
    """A number of the configuration, by its dotted name."""

    path: str
    label: str
    least: float | int
    most: float | int | None
    step: float | int
    format: str

    @property
    def meaning(self) -> str:
        """Look up the configuration's description."""
        section, _, name = self.path.rpartition(".")
        model = type(getattr(ExperimentConfig(), section)) if section else ExperimentConfig
        return model.model_fields[name].description or ""


ROUNDS = "federated.num_rounds"
FIELDS = (
    Field(ROUNDS, "Rounds at most", 1, None, 10, "%d"),
    Field("federated.client_fraction", "Clients per round (share of users)", 0.001, 1.0, 0.05, "%.3f"),
    Field("federated.server_learning_rate", "Server's learning rate", 1e-5, None, 0.001, "%.4f"),
    Field("evaluation.eval_every", "Rounds between validations", 1, None, 5, "%d"),
    Field("seed", "Seed", 0, None, 1, "%d"),
)
# Each is the opposite of a switch of the ablation section.
TRANSITIONS = (
    "ablation.disable_transitions",
    "Transition memory",
    "Off: the sequence model alone, which is FedAvg-SASRec.",
)
EXPERTS = (
    "ablation.disable_moe",
    "Experts and prototypes",
    "On: memories of surprising items, the experts that read them, and prototypes. No gain by them could be measured.",
)
# What matters only where the experts are on.
EXPERT_FIELDS = (
    Field("fedmem.memory_capacity", "Memory of a client (entries)", 1, None, 10, "%d"),
    Field("fedmem.surprise_threshold", "Surprise threshold (nats)", 0.0, None, 0.1, "%.2f"),
    Field("fedmem.num_memory_prototypes", "Prototypes (number)", 1, None, 1, "%d"),
    Field("fedmem.contrastive_lambda", "Weight of the contrastive loss", 0.0, None, 0.05, "%.2f"),
)
EXPERT_SWITCHES = (
    ("ablation.disable_prototype_agg", "Global prototypes", "Off: clients keep their prototypes to themselves."),
    ("ablation.disable_contrastive", "Contrastive loss", "Off: text preferences are not pulled towards the items."),
)


def value_at(tree: Mapping[str, Any], path: str) -> Any:
    """Look up a setting by its dotted name."""
    value: Any = tree
    for part in path.split("."):
        value = value[part]
    return value


def changed(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the tree with settings changed by their dotted names."""
    result = dict(tree)
    for path, value in changes.items():
        section, _, name = path.rpartition(".")
        if section:
            result[section] = {**result[section], name: value}
        else:
            result[name] = value
    return result
