"""Every setting says what it means, and is read by the code that it is there for."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from fedmem.config import ExperimentConfig
from fedmem.config_reader import load_config


def settings_of(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    """(dotted name, description) of every leaf of the tree."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings_of(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.description


SETTINGS = list(settings_of(ExperimentConfig))


def attributes_read(tree: ast.AST) -> set[str]:
    nodes = ast.walk(tree)
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


def properties(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(item) == "property" for item in node.decorator_list):
            yield node


@pytest.fixture(scope="module")
def names_read(project_root: Path) -> set[str]:
    """Every attribute that the source reads; of the configuration's own file the properties only, not its checks."""
    names: set[str] = set()
    for path in (path for package in ("fedmem", "trainer", "cli") for path in project_root.glob(f"{package}/**/*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        own_file = path == project_root / "fedmem" / "config.py"
        for part in properties(tree) if own_file else (tree,):
            names |= attributes_read(part)
    return names


@pytest.mark.parametrize(("name", "description"), SETTINGS)
def test_setting_is_described(name, description):
    assert description, f"{name} has no description"
    assert description.endswith("."), f"{name}: {description!r} is not a sentence"


@pytest.mark.parametrize("name", [name for name, _ in SETTINGS])
def test_setting_is_read(names_read, name):
    assert name.rpartition(".")[2] in names_read, f"no code reads {name}"


LADDER = {"sasrec", "centralised", "transitions", "fedmem_no_proto", "fedmem_no_contrast", "fedmem"}
CONTROLS = {"no_memory", "no_text", "random_memory", "last_memory", "fedavg_original"}


def test_every_shipped_configuration_loads(project_root):
    loaded = {path.stem: load_config(path) for path in project_root.glob("configs/*.yaml")}
    assert loaded.keys() >= LADDER | CONTROLS


def test_the_full_configuration_names_every_setting_with_its_default(project_root):
    path = project_root / "configs" / "fedmem.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    sections = {key: value for key, value in tree.items() if isinstance(value, dict)}
    named = {f"{section}.{key}" for section, values in sections.items() for key in values} | tree.keys() - sections
    assert named == {name for name, _ in SETTINGS}
    assert load_config(path) == ExperimentConfig()
