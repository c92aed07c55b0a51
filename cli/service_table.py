"""``fedmem config show --services``: what every setting of the environment is, and where it comes from."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rich.padding import Padding
from rich.text import Text

from backend.settings import Settings as BackendSettings
from cli.screen import answer_json, answers, notes
from dashboard.settings import Settings as DashboardSettings
from fedmem.environment import DATABASE, FILE, Origin, is_ours, origin
from fedmem.errors import StorageError
from fedmem.features.settings import FeatureSettings
from fedmem.federated.ray_cluster import RaySettings
from fedmem.nodes.flower_settings import FlowerSettings
from fedmem.service_settings import ServiceSettings
from fedmem.storage.engine import HIDDEN, parse_url, shown
from trainer.settings import Settings as TrainerSettings

SERVICES: dict[str, type[ServiceSettings]] = {
    "backend": BackendSettings,
    "trainer": TrainerSettings,
    "dashboard": DashboardSettings,
    "features": FeatureSettings,
    "ray": RaySettings,
    "flower": FlowerSettings,
}


@dataclass(frozen=True)
class ServiceVariable:
    """One variable as it is shown: a secret is masked."""

    name: str
    value: str
    origin: Origin
    services: tuple[str, ...]
    meaning: str


def show_services(*, as_json: bool) -> None:
    """Print every setting, then what is wrong with them.

    Raises:
        ConfigError: naming the first value that a service would refuse.
    """
    found = list(_settings())
    if as_json:
        answer_json(_record(found))
    else:
        _print(found)
    for name in _unknown({setting.name for setting in found}):
        notes.print(f"warning: {name}")
    for service in SERVICES.values():
        service.load()


def _settings() -> Iterator[ServiceVariable]:
    users: dict[str, list[str]] = {}
    for service, kind in SERVICES.items():
        for setting in kind.model_fields:
            users.setdefault(kind.variable(setting), []).append(service)
    for name, services in users.items():
        kind = SERVICES[services[0]]
        readers = ("every command", *services) if name == DATABASE else tuple(services)
        (field,) = (info for key, info in kind.model_fields.items() if kind.variable(key) == name)
        value = os.environ.get(name) or ("" if field.default is None else str(field.default))
        masked = value if field.repr else _masked(name, value)
        yield ServiceVariable(name, masked, origin(name), readers, field.description or "")


def _masked(name: str, value: str) -> str:
    if name != DATABASE:
        return HIDDEN if value else ""
    try:
        return shown(parse_url(value))
    except StorageError:  # of which no part is known to be no secret
        return HIDDEN


def _unknown(known: set[str]) -> Iterator[str]:
    """Name the variables that look like ours and are read by no service."""
    for name in sorted(os.environ):
        if is_ours(name) and name not in known:
            close = get_close_matches(name, known, n=1)
            nearest = f" (did you mean {close[0]}?)" if close else ""
            yield f"{name} from {_place(origin(name))} is no setting{nearest}"


def _place(source: Origin) -> str:
    return f"{FILE}" if source == ".env" else f"the {source}"


def _record(found: list[ServiceVariable]) -> dict[str, Any]:
    return {
        "folder": str(Path.cwd()),
        "env_file": str(FILE.absolute()) if FILE.is_file() else None,
        "settings": {
            setting.name: {"value": setting.value, "origin": setting.origin, "services": setting.services}
            for setting in found
        },
    }


def _print(found: list[ServiceVariable]) -> None:
    for setting in found:
        value = f"={setting.value}" if setting.value else " is unset"
        answers.print(Text(setting.name, "bold") + Text(f"{value}  ({setting.origin}; {', '.join(setting.services)})"))
        answers.print(Padding(Text(setting.meaning, "dim"), (0, 0, 0, 4)), soft_wrap=False)
    there = "is read" if FILE.is_file() else "is not there"
    notes.print(f"{FILE.absolute()} {there}; relative paths start at {Path.cwd()}")
