"""The configuration as a table of keys, values and meanings."""

from collections.abc import Iterator
from textwrap import wrap

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.table import Table
from yaml import safe_dump

from fedmem.config import ExperimentConfig

WIDTH = 118


def settings(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, object, FieldInfo]]:
    """Yield every setting as (dotted key, value, field)."""
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, info


def as_table(config: ExperimentConfig) -> Table:
    """Render a rich table; the last column is the original description's default where it differs from ours."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("key", no_wrap=True)
    for column in ("value", "meaning", "original"):
        table.add_column(column, overflow="fold")
    for key, value, info in settings(config):
        table.add_row(key, _shown(value), info.description, _original(info))
    return table


def as_yaml(config: ExperimentConfig) -> str:
    """Render the configuration as a YAML file in which every setting is documented."""
    return "\n".join([*_yaml_lines(config, ""), ""])


def _yaml_lines(section: BaseModel, indent: str) -> Iterator[str]:
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from ("", f"# {type(value).__doc__}", f"{name}:")
            yield from _yaml_lines(value, f"{indent}  ")
            continue
        comment = wrap(info.description or "", WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        original = _original(info)
        yield from (*comment, f"{indent}{name}: {_yaml(value)}{f'  # original: {original}' if original else ''}")


def _yaml(value: object) -> str:
    # Quoted where YAML would read something else, as for `off`.
    return safe_dump(value, width=10**6).removesuffix("...\n").strip() if isinstance(value, str) else _shown(value)


def _original(info: FieldInfo) -> str:
    extra = info.json_schema_extra
    return _shown(extra["original"]) if isinstance(extra, dict) and "original" in extra else ""


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)
