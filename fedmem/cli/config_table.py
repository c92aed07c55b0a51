"""The configuration as a table of keys, values and meanings."""

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.table import Table

from fedmem.config import ExperimentConfig


def settings(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, object, FieldInfo]]:
    """Every setting as (dotted key, value, field)."""
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, info


def as_table(config: ExperimentConfig) -> Table:
    """A rich table; the last column is the original description's default where it differs from ours."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("key", "value", "meaning", "original"):
        table.add_column(column, overflow="fold")
    for key, value, info in settings(config):
        extra = info.json_schema_extra
        original = extra.get("original", "") if isinstance(extra, dict) else ""
        table.add_row(key, _shown(value), info.description, str(original))
    return table


def _shown(value: object) -> str:
    return "null" if value is None else str(list(value) if isinstance(value, tuple) else value)
