"""The three forms of one table."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from fedmem.evaluation import report
from fedmem.evaluation.cold_start import ColdStartRow
from fedmem.evaluation.metric_table import MetricSums, MetricTable


@pytest.fixture
def tables() -> dict[str, MetricTable]:
    return {
        "two | users": MetricSums.of(np.array([1.0, 9.0]), [5], ["HR", "MRR"]).table(),
        "one user": MetricSums.of(np.array([1.0]), [5], ["HR"]).table(),
    }


def test_markdown(tables: dict[str, MetricTable]) -> None:
    assert report.as_markdown(tables).splitlines() == [
        "| name | HR@5 | MRR | users |",
        "| --- | ---: | ---: | ---: |",
        "| two \\| users | 0.5000 ± 0.5000 | 0.5556 ± 0.4444 | 2 |",
        "| one user | 1.0000 |  | 1 |",
    ]


def test_json(tables: dict[str, MetricTable]) -> None:
    records = json.loads(report.as_json(tables))
    assert [record["name"] for record in records] == ["two | users", "one user"]
    assert records[0]["metrics"]["HR@5"] == {"mean": 0.5, "standard_error": pytest.approx(0.5)}
    assert records[1]["metrics"] == {"HR@5": {"mean": 1.0, "standard_error": None}}


def test_rich(tables: dict[str, MetricTable]) -> None:
    stream = io.StringIO()
    Console(file=stream, width=100).print(report.as_rich(tables, "Test split"))
    text = stream.getvalue()
    for expected in ["Test split", "HR@5", "two | users", "0.5556 ±0.4444", "1.0000"]:
        assert expected in text


def test_cold_start_rows_keep_their_order(tables: dict[str, MetricTable]) -> None:
    rows = [ColdStartRow("model", n, tables["one user"]) for n in (0, 5)]
    assert list(report.cold_start_tables(rows)) == ["model, n = 0", "model, n = 5"]
