"""The documents speak of what is there: names resolve, the tree is whole, and commands exist."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

NAME = re.compile(r"`([a-z_]+(?:\.\w+)+)`")
PACKAGES = ("cli", "fedmem", "backend", "trainer", "dashboard", "web", "migrations")
NO_VERB = re.compile(
    r"(?:a|all|an|as|each|every|for|how|in|it|of|that|the|these|this|those|what|where|whether|which|who)\b",
    re.IGNORECASE,
)
PROPERTIES = ("property", "cached_property", "functools.cached_property")
TREE_LINE = re.compile(r"^(?P<indent> *)(?P<name>\w+/)(?: |$)")


def defined(tree: ast.Module | ast.ClassDef) -> dict[str, ast.AST]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name: node for node in tree.body if isinstance(node, kinds)}


def resolves(source: Path, name: str) -> bool:
    """Whether ``package.module.Class.method`` names something in the source."""
    parts = name.split(".")
    while parts and (source / parts[0]).is_dir():
        source /= parts.pop(0)
    if not parts or not (source / f"{parts[0]}.py").is_file():
        return False
    node: ast.AST = ast.parse((source / f"{parts.pop(0)}.py").read_text(encoding="utf-8"))
    for part in parts:
        if not isinstance(node, ast.Module | ast.ClassDef) or part not in defined(node):
            return False
        node = defined(node)[part]
    return True


def folders_in_tree(text: str) -> set[str]:
    """The folders named in the first code block of a document."""
    found, folders = set(), []
    for line in text.split("```")[1].splitlines()[1:]:
        match = TREE_LINE.match(line)
        assert match, f"not a line of a tree: {line!r}"
        folders[len(match["indent"]) // 2 :] = [match["name"]]
        found.add("".join(folders))
    return found


def test_every_function_in_the_notation_exists(project_root):
    names = NAME.findall((project_root / "docs" / "notation.md").read_text(encoding="utf-8"))
    assert len(names) > 30
    assert [name for name in names if not resolves(project_root / "fedmem", name)] == []


def test_every_test_that_a_document_names_exists(project_root):
    named = {
        name
        for path in (project_root / "docs").rglob("*.md")
        for name in re.findall(r"`(test_\w+)`", path.read_text(encoding="utf-8"))
    }
    there = {
        name for path in (project_root / "tests").rglob("test_*.py") for name in defined(ast.parse(path.read_bytes()))
    }
    assert len(named) > 10
    assert named - there == set()


@pytest.mark.parametrize(
    "name", ["model.losses.no_such_loss", "model.nowhere.bpr_loss", "data.split.train_prefix.more"]
)
def test_a_name_that_does_not_exist_is_noticed(project_root, name):
    assert not resolves(project_root / "fedmem", name)


def packages(project_root: Path) -> set[str]:
    """Every package and subpackage of the source, with a slash at its end."""
    folders = {path.parent for name in PACKAGES for path in project_root.glob(f"{name}/**/*.py")}
    return {f"{path.relative_to(project_root).as_posix()}/" for path in folders} - {"migrations/versions/"}


def test_the_documented_tree_names_every_package(project_root):
    written = folders_in_tree((project_root / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert written == packages(project_root)


def test_the_architecture_draws_the_arrows_that_are_checked(project_root):
    contracts = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    floors = next(each["layers"] for each in contracts["contracts"] if each["id"] == "core-layers")
    drawn = (project_root / "docs" / "architecture.md").read_text(encoding="utf-8").split("## Arrows\n```\n")[1]
    column = " ".join(drawn.split("\n```")[0].splitlines()[4:])
    assert [set(floor.split(" | ")) for floor in re.split(r"\s*>\s*", column)] == [set(f.split(" | ")) for f in floors]


def test_the_readme_says_where_a_clients_round_is(project_root):
    readme = (project_root / "README.md").read_text(encoding="utf-8")
    name, path = re.findall(r"A client's round is `([\w.]+)` of `([\w/]+)\.py`", readme)[0]
    assert resolves(project_root, f"{path.replace('/', '.')}.{name}")


def test_every_module_says_what_it_is_for(project_root):
    files = [path for name in PACKAGES for path in project_root.glob(f"{name}/**/*.py") if path.stat().st_size]
    silent = [str(path) for path in files if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert silent == []


def test_the_readme_is_short(project_root):
    assert len((project_root / "README.md").read_text(encoding="utf-8").split()) <= 900


def without_verb(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and docstring of each function, properties excepted, that begins with a word that is no verb."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = ast.get_docstring(node) or ""
        is_property = any(ast.unparse(decorator) in PROPERTIES for decorator in node.decorator_list)
        if not is_property and NO_VERB.match(docstring):
            yield node.lineno, docstring


def test_docstrings_of_functions_begin_with_a_verb(project_root):
    files = [path for name in (*PACKAGES, "benchmarks") for path in sorted(project_root.glob(f"{name}/**/*.py"))]
    assert [
        f"{path.relative_to(project_root)}:{line}: {docstring}"
        for path in files
        for line, docstring in without_verb(path.read_text(encoding="utf-8"))
    ] == []


def test_a_docstring_without_a_verb_is_noticed():
    source = """
class Table:
    def rows(self):
        '''The rows.'''

    @property
    def width(self):
        '''The width.'''

    async def close(self):
        '''Close it.'''
"""
    assert list(without_verb(source)) == [(3, "The rows.")]
