"""The benchmark of noise on validations: without noise the best is chosen, with much of it any."""

import pytest

from benchmarks.private_metrics import chosen, measured
from tests.tiny import tiny_dataset

EXACT = {
    "validation": [{0.0: 0.1, 0.5: 0.3}, {0.0: 0.2, 0.5: 0.1}],
    "test": [{0.0: 1.0, 0.5: 2.0}, {0.0: 3.0, 0.5: 4.0}],
}


def test_noise_chooses_other_rounds_and_weights():
    assert chosen(EXACT, {0.0, 0.5}, 0.0, 3) == [2.0] * 3
    assert chosen(EXACT, {0.0}, 0.0, 2) == [3.0] * 2
    assert set(chosen(EXACT, {0.0, 0.5}, 100.0, 200)) == {1.0, 2.0, 3.0, 4.0}


def test_every_figure_comes_out():
    rows = measured(tiny_dataset(30), 10, 20)
    assert [(row["settings"], row["epsilon"]) for row in rows[::2]] == [
        (settings, epsilon) for settings in ("all", "few") for epsilon in (None, 8.0, 2.0)
    ]
    exact, dear, cheap = rows[0], rows[4], rows[5]
    assert exact["deviation"] == 0 == pytest.approx(exact["spread"])
    assert dear["deviation"] == pytest.approx(10 * cheap["deviation"])
    assert dear["deviation"] > rows[10]["deviation"] > 0
