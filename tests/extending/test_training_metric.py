"""The recipe of a training metric: one file, and every round reports it, as a share of what was counted."""

from pathlib import Path

import pytest

from tests.extending.recipes import recipe


def test_a_training_metric_is_one_file(tmp_path: Path) -> None:
    found = recipe("A training metric")
    assert len(found.changes) <= 2
    for report in found.carry_out(tmp_path).train()["rounds"]:
        assert 0 <= report["hard_share"] < 1
        bars = sum(report[f"surprise_share_{k:02d}"] for k in range(4, 17))  # from 1 nat on, in bars of 0.25
        assert report["hard_share"] == pytest.approx(bars)
