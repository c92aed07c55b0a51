"""The benchmark's rows and its arithmetic; nothing is timed."""

import pytest

from benchmarks.reading import FEW, MANY, SIDES, summary, write_table
from fedmem.data.formats import read_interactions


def test_both_files_hold_the_same_rows(tmp_path):
    write_table(300, tmp_path)
    first, second = (read_interactions(tmp_path / f"300.{form}") for form in ("jsonl", "csv"))
    assert len(first) == 300
    for name in ("users", "items", "timestamps"):
        assert getattr(first, name).tolist() == getattr(second, name).tolist()


def test_growth_is_by_row_and_ratios_are_to_the_peer():
    turns = {
        f"{side} {rows}": [{"seconds": rows / 1e5 * factor, "bytes": rows * factor}] * 3
        for side, factor in zip(SIDES, (1, 0.5, 2), strict=True)
        for rows in (FEW, MANY)
    }
    found = summary(turns)
    assert found["per_row"] == pytest.approx(dict.fromkeys(SIDES, 1.0))
    assert (found["seconds_to_pandas"], found["bytes_to_pandas"]) == (0.5, 0.5)
    assert found["seconds_to_csv"] == 2
