"""The recipe of a recommendation loss: two files, and a run trains with it, in one local step and in several."""

from pathlib import Path

import pytest

from tests.extending.recipes import recipe


def test_a_loss_is_two_files(tmp_path: Path) -> None:
    found = recipe("A recommendation loss")
    assert len(found.changes) <= 2
    source = found.carry_out(tmp_path)
    one_step, several = source.train_each(
        {"training": {"loss": "hinge"}},
        {"training": {"loss": "hinge", "batch_size": 4, "learning_rate": 0.05}},
    )
    first, *_, last = (report["recommendation_loss"] for report in one_step["rounds"])
    assert first == pytest.approx(1, abs=0.05)  # the margin, where all scores are nearly equal
    assert last < first
    assert several["weights"] != one_step["weights"]
