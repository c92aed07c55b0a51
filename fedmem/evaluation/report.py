"""Metric tables side by side: for the screen (rich), for documents (Markdown) and for programs (JSON)."""

import json
import math
from collections.abc import Mapping, Sequence

from rich.table import Table

from fedmem.evaluation.cold_start import ColdStartRow
from fedmem.evaluation.metric_table import MetricTable

_NAME_WIDTH, _COLUMN_WIDTH = 32, 16  # characters

Tables = Mapping[str, MetricTable]


def cold_start_tables(rows: Sequence[ColdStartRow]) -> dict[str, MetricTable]:
    """The rows of a cold-start evaluation as named tables, in their order."""
    return {row.label: row.table for row in rows}


def as_records(tables: Tables) -> list[dict[str, object]]:
    """One record per table: its name and what ``MetricTable.to_dict`` gives."""
    return [{"name": name, **table.to_dict()} for name, table in tables.items()]


def as_json(tables: Tables) -> str:
    """The records as one JSON array; undefined errors are null."""
    return json.dumps(as_records(tables), indent=2, ensure_ascii=False, allow_nan=False)


def as_markdown(tables: Tables) -> str:
    """A GitHub table, each cell ``mean ± standard error``; a metric that a table lacks is left empty."""
    names = _metric_names(tables)
    lines = ["| name | " + " | ".join([*names, "users"]) + " |", "| --- |" + " ---: |" * (len(names) + 1)]
    for name, table in tables.items():
        cells = [name.replace("|", "\\|"), *(_cell(table, metric) for metric in names), str(table.num_users)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def as_rich(tables: Tables, title: str | None = None, width: int | None = None) -> Table:
    """The same as a rich table; whoever owns the console prints it.

    Where ``width`` characters are too few for every metric, those at 10 and MRR stand for all.
    """
    names = _metric_names(tables)
    if width is not None and width < _NAME_WIDTH + _COLUMN_WIDTH * len(names):
        names = [name for name in names if name.endswith("@10") or name == "MRR"] or names
    rendered = Table(title=title, title_justify="left")
    rendered.add_column("name", no_wrap=True)
    for column in [*names, "users"]:
        rendered.add_column(column, justify="right", no_wrap=True)
    for name, table in tables.items():
        rendered.add_row(name, *(_cell(table, metric).replace(" ± ", " ±") for metric in names), str(table.num_users))
    return rendered


def cold_start_as_rich(rows: Sequence[ColdStartRow], metric: str, title: str) -> Table:
    """One metric of every scorer (down) at every n (across)."""
    rendered = Table(title=title, title_justify="left")
    rendered.add_column(metric, no_wrap=True)
    for n in dict.fromkeys(row.interactions for row in rows):
        rendered.add_column(f"n = {n}", justify="right", no_wrap=True)
    for scorer in dict.fromkeys(row.scorer for row in rows):
        rendered.add_row(scorer, *(f"{row.table.mean(metric):.4f}" for row in rows if row.scorer == scorer))
    return rendered


def _metric_names(tables: Tables) -> list[str]:
    return list(dict.fromkeys(name for table in tables.values() for name in table.values))


def _cell(table: MetricTable, metric: str) -> str:
    if metric not in table.values:
        return ""
    mean, error = table.values[metric]
    return f"{mean:.4f}" if math.isnan(error) else f"{mean:.4f} ± {error:.4f}"
