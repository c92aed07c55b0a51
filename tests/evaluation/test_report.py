"""The three forms of one table."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from fedmem.evaluation import report
from fedmem.evaluation.cold_start import ColdStartRow
from fedmem.evaluation.metric_table import MetricSums, MetricTable


@pytest.fixture
def tables() -> dict[str, MetricTable]:
    return {
        "two | users": MetricSums.of(np.array([1.0, 9.0]), [5], ["HR", "MRR"]).table(),
        "one user": MetricSums.of(np.array([1.0]), [5], ["HR"]).table(),
    }


def test_records(tables: dict[str, MetricTable]) -> None:
    records = report.as_records(tables)
    assert [record["name"] for record in records] == ["two | users", "one user"]
    assert records[0]["metrics"]["HR@5"] == {"mean": 0.5, "standard_error": pytest.approx(0.5)}  # type: ignore[index]
    assert records[1]["metrics"] == {"HR@5": {"mean": 1.0, "standard_error": None}}


def text_of(rendered: Table, width: int = 100) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(rendered)
    return stream.getvalue()


def test_rich(tables: dict[str, MetricTable]) -> None:
    text = text_of(report.as_rich(tables, "Test split"))
    for expected in ["Test split, 2 or 1 users", "HR@5", "two | users", "0.5556 ±0.4444", "1.0000"]:
        assert expected in text


def test_cold_start_rows_keep_their_order(tables: dict[str, MetricTable]) -> None:
    rows = [ColdStartRow("model", n, tables["one user"]) for n in (0, 5)]
    assert list(report.cold_start_tables(rows)) == ["model, n = 0", "model, n = 5"]


def test_a_narrow_screen_shows_what_stands_for_all() -> None:
    tables = {"model": MetricSums.of(np.array([1.0, 9.0]), [5, 10, 20]).table()}
    text = text_of(report.as_rich(tables, "Test", 80), 80)
    assert all(name in text for name in ("HR@10", "NDCG@10", "MRR"))
    assert "@5" not in text
    assert "…" not in text


def test_paired_differences() -> None:
    users, first, second = np.array([0, 1]), np.array([1.0, 30.0]), np.array([30.0, 30.0])
    tables = {
        name: replace(MetricSums.of(ranks, [10], ["HR"]).table(), users=users, ranks=ranks)
        for name, ranks in (("trained", first), ("control", second))
    }
    text = text_of(report.differences_as_rich(tables, "trained"))
    assert "-0.5000 ±0.5000" in text


def test_cold_start_table_takes_a_metric_that_was_measured(tables: dict[str, MetricTable]) -> None:
    rows = [ColdStartRow("model", n, tables["one user"]) for n in (0, 5)]
    text = text_of(report.cold_start_as_rich(rows, "cold"))
    assert all(part in text for part in ("HR@5", "n = 0", "n = 5", "1.0000"))
