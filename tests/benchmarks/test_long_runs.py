"""P7's arithmetic; nothing is trained."""

import pytest

from benchmarks.long_runs import ROUNDS, figures

# Baselines took no training.
LADDER = {"models": [{"runs": [{"test": {}}]}, {"runs": [{"seconds": 300.0}]}, {"runs": [{"seconds": 330.0}]}]}


def test_minutes_of_the_runs_are_added_up():
    found = figures(LADDER, {"seconds": 7260.0, "rounds": ROUNDS})
    assert found["minutes"] == {"ladder": 10.5, "ml_1m": 121.0}
    assert found["met"] == {"ladder": True, "ml_1m": False}


@pytest.mark.parametrize(("rounds", "met"), [(ROUNDS, True), (ROUNDS - 10, False)])
def test_spared_rounds_meet_no_goal(rounds, met):
    assert figures(LADDER, {"seconds": 60.0, "rounds": rounds})["met"]["ml_1m"] is met
