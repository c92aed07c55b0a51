"""Metric tables side by side: for the screen and for programs."""

import math
from collections.abc import Mapping, Sequence

from rich.table import Table

from fedmem.evaluation.cold_start import ColdStartRow
from fedmem.evaluation.metric_table import MetricTable, paired_difference

_NAME_WIDTH, _COLUMN_WIDTH = 32, 16  # characters

Tables = Mapping[str, MetricTable]


def cold_start_tables(rows: Sequence[ColdStartRow]) -> dict[str, MetricTable]:
    """Return the rows of a cold-start evaluation as named tables, in their order."""
    return {row.label: row.table for row in rows}


def as_records(tables: Tables) -> list[dict[str, object]]:
    """Return one record per table: its name and what ``MetricTable.to_dict`` gives."""
    return [{"name": name, **table.to_dict()} for name, table in tables.items()]


def as_rich(tables: Tables, title: str | None = None, width: int | None = None) -> Table:
    """Render a rich table, each cell ``mean ±standard error``, for the owner of the console to print.

    Where ``width`` characters are too few for every metric, those at 10 and without a cut-off stand for all.
    """
    names = _metric_names(tables)
    if width is not None and width < _NAME_WIDTH + _COLUMN_WIDTH * len(names):
        names = [name for name in names if name.endswith("@10") or "@" not in name] or names
    users = " or ".join(str(n) for n in dict.fromkeys(table.num_users for table in tables.values()))
    rendered = _table(f"{title}, {users} users" if title else f"{users} users", "name", names)
    for name, table in tables.items():
        rendered.add_row(name, *(_cell(table, metric) for metric in names))
    return rendered


def differences(tables: Tables, reference: str) -> dict[str, dict[str, tuple[float, float]]]:
    """Compute paired differences to the reference and their standard errors over the same users, by name and metric.

    Tables without ranks (chance) are left out.
    """
    others = {name: table for name, table in tables.items() if name != reference and len(table.ranks)}
    return {
        name: {metric: paired_difference(table, tables[reference], metric) for metric in table.values}
        for name, table in others.items()
    }


def differences_as_rich(tables: Tables, reference: str) -> Table:
    """Render paired differences ± standard error in NDCG@10 and MRR, or in whatever was measured."""
    names = [name for name in _metric_names(tables) if name in ("NDCG@10", "MRR")] or _metric_names(tables)
    rendered = _table(f"paired difference to the {reference}", "name", names)
    for name, pairs in differences(tables, reference).items():
        rendered.add_row(name, *(f"{pairs[metric][0]:+.4f} ±{pairs[metric][1]:.4f}" for metric in names))
    return rendered


def values_as_rich(rows: Mapping[str, Mapping[str, float]], title: str) -> Table:
    """Render plain values by row and column."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    rendered = _table(title, "name", columns)
    for name, row in rows.items():
        rendered.add_row(name, *(f"{row[column]:.4f}" if column in row else "" for column in columns))
    return rendered


def groups_as_rich(rows: Mapping[str, Tables], title: str) -> Table:
    """Render NDCG@10, or else the first metric, of every scorer (down) in every group of users (across)."""
    first = next(iter(rows.values()))
    metric = _shown_metric(next(iter(first.values())))
    rendered = _table(title, metric, list(first))
    for name, groups in rows.items():
        rendered.add_row(name, *(_cell(table, metric) for table in groups.values()))
    return rendered


def _shown_metric(table: MetricTable) -> str:
    return "NDCG@10" if "NDCG@10" in table.values else next(iter(table.values))


def cold_start_as_rich(rows: Sequence[ColdStartRow], title: str) -> Table:
    """Render NDCG@10, or else the first metric, of every scorer (down) at every n (across)."""
    metric = _shown_metric(rows[0].table)
    rendered = _table(title, metric, [f"n = {n}" for n in dict.fromkeys(row.interactions for row in rows)])
    for scorer in dict.fromkeys(row.scorer for row in rows):
        rendered.add_row(scorer, *(f"{row.table.mean(metric):.4f}" for row in rows if row.scorer == scorer))
    return rendered


def _table(title: str | None, first: str, columns: Sequence[str]) -> Table:
    rendered = Table(title=title, title_justify="left")
    rendered.add_column(first, no_wrap=True)
    for column in columns:
        rendered.add_column(column, justify="right", no_wrap=True)
    return rendered


def _metric_names(tables: Tables) -> list[str]:
    return list(dict.fromkeys(name for table in tables.values() for name in table.values))


def _cell(table: MetricTable, metric: str) -> str:
    if metric not in table.values:
        return ""
    mean, error = table.values[metric]
    return f"{mean:.4f}" if math.isnan(error) else f"{mean:.4f} ±{error:.4f}"
