"""Configurations that another version of this program has stored: what this one takes of them."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from fedmem.config import ExperimentConfig

ALL = "(all of it, which is no JSON object)"


def read_config(stored: object) -> tuple[ExperimentConfig, tuple[str, ...]]:
    """Read a configuration without the keys that this version refuses (they have its defaults), and these keys."""
    if not isinstance(stored, Mapping):  # a row that was damaged
        return ExperimentConfig(), (ALL,)
    try:
        return ExperimentConfig.model_validate(stored), ()
    except ValidationError:
        return _without_refused(deepcopy(dict(stored)))


def _without_refused(values: dict[str, Any]) -> tuple[ExperimentConfig, tuple[str, ...]]:
    refused: list[str] = []
    while True:  # each time something goes, and nothing at all is a configuration
        try:
            return ExperimentConfig.model_validate(values), tuple(refused)
        except ValidationError as error:
            wrong = {_key(values, problem["loc"]): None for problem in error.errors()}
        # Settings that do not fit one another are no single key's fault: all go.
        keys = [(name,) for name in values] if () in wrong else list(wrong)
        for key in keys:
            _drop(values, key)
        refused += [".".join(key) for key in keys]


def _key(values: Mapping[str, Any], place: Sequence[int | str]) -> tuple[str, ...]:
    """Find the keys on the way to a problem; an index in a list or a member of a union may follow them."""
    key: list[str] = []
    node: Any = values
    for part in place:
        if not isinstance(node, Mapping) or part not in node:
            break
        key.append(str(part))
        node = node[part]
    return tuple(key)


def _drop(values: dict[str, Any], key: Sequence[str]) -> None:
    *sections, last = key
    for section in sections:
        values = values[section]
    del values[last]
