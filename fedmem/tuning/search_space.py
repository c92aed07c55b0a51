"""What a search chooses from: for each setting some values or a range."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Self

from optuna.trial import BaseTrial

from fedmem.config import ExperimentConfig
from fedmem.config_reader import merged, validate_config
from fedmem.errors import ConfigError
from fedmem.strict_yaml import parse_yaml

Params = dict[str, Any]

# What moves no number, and what says on whom and how it is measured: the best of such values would be no better.
UNMOVED = ("device", "workers", "save_dir", "log_interval", "save_interval")
NOT_SEARCHED = ("seed", *UNMOVED, "data.", "evaluation.")

# The original's, and ours: what `docs/experiments.md` found to matter. A range is given by its ends.
SPACES: Mapping[str, Mapping[str, Any]] = {
    "original": {
        "fedmem.memory_capacity": [20, 50, 100],
        "fedmem.surprise_threshold": [0.3, 0.5, 0.7],
        "fedmem.contrastive_lambda": [0.05, 0.1, 0.2],
        "fedmem.num_memory_prototypes": [3, 5, 10],
        "training.learning_rate": [0.0005, 0.001, 0.002],
        "federated.client_fraction": [0.05, 0.1, 0.2],
    },
    "fedmem": {
        "federated.client_fraction": [0.01, 0.02, 0.05, 0.1],
        "federated.server_learning_rate": {"low": 0.001, "high": 0.01, "log": True},
        "federated.server_averaging": [0.9, 0.95, 0.98, 0.99],
        "model.sasrec_dropout": [0.1, 0.2, 0.3],
        "model.sasrec_num_blocks": [1, 2, 3],
        "model.sasrec_hidden_dim": [32, 64, 128],
        "training.crop_probability": [0.0, 0.3, 0.7],
    },
}


@dataclass(frozen=True)
class Choice:
    """Some values."""

    values: tuple[Any, ...]

    def suggest(self, trial: BaseTrial, name: str) -> Any:
        """Let a trial choose."""
        return trial.suggest_categorical(name, self.values)

    def holds(self, value: object) -> bool:
        """Say whether a value is one of them."""
        return value in self.values

    @property
    def ends(self) -> tuple[Any, ...]:
        """What must be valid for all to be."""
        return self.values

    @property
    def count(self) -> float:
        """How many there are."""
        return len(self.values)


@dataclass(frozen=True)
class Range:
    """Whole or decimal numbers from ``low`` to ``high``, both included, by their logarithm where ``log`` is set."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: BaseTrial, name: str) -> Any:
        """Let a trial choose."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def holds(self, value: object) -> bool:
        """Say whether a value lies in it."""
        return isinstance(value, int | float) and self.low <= value <= self.high

    @property
    def ends(self) -> tuple[Any, ...]:
        """What must be valid for all to be."""
        return (self.low, self.high)

    @property
    def count(self) -> float:
        """How many there are, no end of decimal ones."""
        return self.high - self.low + 1 if isinstance(self.low, int) and isinstance(self.high, int) else float("inf")


@dataclass(frozen=True)
class SearchSpace:
    """Values by setting's dotted name, around one configuration."""

    base: ExperimentConfig
    values: Mapping[str, Choice | Range]

    @classmethod
    def named(cls, name: str, base: ExperimentConfig) -> Self:
        """Take one of ``SPACES`` or, by its path, a YAML file that maps settings to lists or ranges.

        Raises:
            ConfigError: naming the setting and the value that cannot be searched.
        """
        if name in SPACES:
            return cls.of(SPACES[name], base, f"the space {name}")
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"--space {name}: cannot be read ({error}). Name {', '.join(SPACES)} or a YAML file."
            ) from None
        return cls.of(parse_yaml(text, name), base, name)

    @classmethod
    def of(cls, given: object, base: ExperimentConfig, source: str) -> Self:
        """Check every setting and value against the configuration that is searched around."""
        if not isinstance(given, Mapping) or not given:
            raise ConfigError(
                f"{source}: expected a mapping of settings to values, e.g. model.sasrec_dropout: [.1, .2]."
            )
        values = {str(name): _values(str(name), one, source) for name, one in given.items()}
        if not base.uses_memory and (idle := [name for name in values if name.startswith("fedmem.")]):
            raise ConfigError(
                f"{source}: {idle[0]} cannot be searched: the configuration has no experts that read a local memory. "
                "Set ablation.disable_moe=false."
            )
        space = cls(base, values)
        for name, one in values.items():
            for value in one.ends:
                validate_config(merged(base.model_dump(), _tree({name: value})), source)
        return space

    @property
    def count(self) -> float:
        """How many configurations there are."""
        return prod(one.count for one in self.values.values())

    def base_params(self) -> Params | None:
        """Return the configuration's own values, if the space holds all of them."""
        settings = self.base.settings()
        own = {name: settings[name] for name in self.values}
        return own if all(one.holds(own[name]) for name, one in self.values.items()) else None

    def config(self, params: Params) -> ExperimentConfig:
        """Return the configuration with these values and, at another client fraction, as many client updates.

        Raises:
            ConfigError: if the values do not go together.
        """
        config = validate_config(merged(self.base.model_dump(), _tree(params)), _written(params))
        scale = self.base.federated.client_fraction / config.federated.client_fraction
        tree = config.model_dump()
        tree["federated"]["num_rounds"] = max(1, round(scale * config.federated.num_rounds))
        tree["evaluation"]["eval_every"] = max(1, round(scale * config.evaluation.eval_every))
        return validate_config(tree, _written(params))

    def record(self) -> dict[str, Any]:
        """Return the space for a program to read."""
        return {name: list(one.values) if isinstance(one, Choice) else vars(one) for name, one in self.values.items()}


def _values(name: str, given: object, source: str) -> Choice | Range:
    if name.startswith(NOT_SEARCHED):
        raise ConfigError(f"{source}: {name} cannot be searched: it decides what is measured or changes no number.")
    if isinstance(given, list) and given and all(isinstance(value, Hashable) for value in given):
        return Choice(tuple(dict.fromkeys(given)))
    if isinstance(given, Mapping) and {"low", "high"} <= given.keys() <= {"low", "high", "log"}:
        low, high, log = given["low"], given["high"], given.get("log", False)
        numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
        if numbers and low < high and isinstance(log, bool) and not (log and low <= 0):
            return Range(low, high, log)
    raise ConfigError(
        f"{source}: {name} = {given!r}: expected a list of values, or a range {{low: 0.001, high: 0.01, log: true}} "
        "whose low is below its high, and above 0 for log."
    )


def _tree(params: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in params.items():
        section, _, leaf = name.rpartition(".")
        tree = merged(tree, {section: {leaf: value}} if section else {leaf: value})
    return tree


def _written(params: Mapping[str, Any]) -> str:
    return f"the trial {', '.join(f'{name}={value}' for name, value in params.items())}"
