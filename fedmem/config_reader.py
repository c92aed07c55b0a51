"""A configuration from a mapping, or from a file and overrides: whole, or one error that names the first wrong key."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fedmem.config import ExperimentConfig, Section
from fedmem.errors import ConfigError
from fedmem.strict_yaml import parse_yaml

SHOWN = 100  # characters of a wrong value

SECTIONS = frozenset(
    name
    for name, field in ExperimentConfig.model_fields.items()
    if field.is_required() is False and isinstance(field.default, Section)
)


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read a YAML configuration and apply ``section.key=value`` overrides, whose values are YAML too.

    A file may name another by ``base: other.yaml``, relative to itself, and then says only what differs.

    Raises:
        ConfigError: naming the file or override, the key and the value.
    """
    values = _read_tree(path, ()) if path else {}
    for override in overrides:
        _apply_override(values, override)
    return validate_config(
        values, source=" ".join([str(path or "the configuration"), *(["with --set"] if overrides else [])])
    )


def with_defaults_of(path: Path | None, config: ExperimentConfig) -> ExperimentConfig:
    """Take from a YAML file what a configuration does not say itself.

    Raises:
        ConfigError: naming the file, the key and the value, also where the two do not go together.
    """
    if path is None:
        return config
    said = config.model_dump(mode="json", exclude_unset=True)
    return validate_config(merged(_read_tree(path, ()), said), source=f"{path} with the job's configuration")


def validate_config(values: Mapping[str, Any], source: str) -> ExperimentConfig:
    """Build the configuration from a nested mapping, or raise one ConfigError that names the first wrong key."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source}: the configuration is no mapping of keys to values, but {str(values)[:SHOWN]!r}")
    try:
        return ExperimentConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_first_problem(error, source)) from None


def _first_problem(error: ValidationError, source: str) -> str:
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{source}: unknown key {key!r}{nearest_key(problem['loc'])}. `fedmem config show` lists every key."
    value = "" if isinstance(problem["input"], Mapping | BaseModel) else f" = {_shown(problem['input'])}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "model_type":
        message = "this is a section of settings, not a value"
    where = f"{key}{value}: " if key else ""  # what several sections do not agree on has no key of its own
    return f"{source}: {where}{message}. `fedmem config show` lists every key and its meaning."


def _shown(value: object) -> str:
    """Format a value for a message, on one line."""
    try:
        shown = repr(value)
    except ValueError:  # Python writes no number of more than some thousand digits
        return "a number of thousands of digits"
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}.. ({len(shown):,} characters)"


def nearest_key(key: Sequence[int | str]) -> str:
    """Suggest the nearest key for a mistyped one, given by its parts, as an unknown name may hold a dot."""
    *parents, leaf = map(str, key)
    section: type[BaseModel] = ExperimentConfig
    for parent in parents:
        section = type(section.model_fields[parent].default)
    close = get_close_matches(leaf, section.model_fields, n=1)
    return f" (did you mean {'.'.join([*parents, *close])!r}?)" if close else ""


def _read_tree(path: Path, visited: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in visited:
        raise ConfigError(f"{path}: its `base` leads back to itself; break the circle.")
    values = _read_yaml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    return merged(_read_tree(path.parent / str(base), (*visited, path.resolve())), values)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). Name a YAML file, e.g. configs/fedmem.yaml.") from None
    values = parse_yaml(text, str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a configuration is a mapping of sections, not {type(values).__name__}.")
    return {key: {} if value is None and key in SECTIONS else value for key, value in values.items()}


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a tree of settings with the leaves of another one over its own."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override!r}: expected section.key=value, e.g. federated.num_rounds=200.")
    value = parse_yaml(text, f"--set {_shown(override)}")
    *parents, leaf = key.strip().split(".")
    node = values
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {override!r}: {parent!r} is a value, not a section.")
        node = child
    node[leaf] = value
