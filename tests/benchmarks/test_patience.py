"""What a rule of early stopping would have done; nothing is trained."""

import json
from pathlib import Path

import pytest

from benchmarks.patience import best_of, curves_of, length, loss, record_of, replayed, worth
from fedmem.checkpoint.run_directory import FORMAT

CURVE = [0.1, 0.2, 0.15, 0.18, 0.19, 0.3]
RISING = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def test_a_rule_ends_after_so_many_validations_without_a_better_one():
    assert [length(CURVE, patience, 1) for patience in (1, 2, 3, 4)] == [3, 4, 5, None]
    assert length([0.1, 0.1, 0.1], 1, 1) == 2  # an equal one is no better one, as in training


def test_the_mean_of_the_last_three_rides_over_one_lucky_validation():
    lucky = [0.1, 0.2, 0.12, 0.15, 0.17, 0.3]
    assert length(lucky, 3, 1) == 5
    assert length(lucky, 3, 3) is None


def test_a_choice_is_worth_the_mean_of_the_validations_around_it():
    assert best_of([0.1, 0.3, 0.3]) == 1
    assert worth(CURVE, 0) == pytest.approx((0.1 + 0.2 + 0.15) / 3)
    assert worth(CURVE, 3) == pytest.approx(sum(CURVE[1:]) / 5)


def test_what_is_lost_is_against_training_to_the_end():
    found = loss(CURVE, 4)
    assert found["share_of_rounds"] == pytest.approx(4 / 6)
    assert found["best"] == pytest.approx(0.3 - 0.2)
    assert found["worth"] == pytest.approx(worth(CURVE, 5) - worth(CURVE, 1))


def test_means_are_over_all_whole_runs_and_unfinished_ones_are_named():
    found = replayed({"ends": CURVE, "whole": RISING}, {"ended": CURVE, "open": RISING}, 2, 1)
    assert found["share_of_rounds"] == pytest.approx((4 / 6 + 1) / 2)
    assert found["best"] == pytest.approx(0.1 / 2)
    assert found["ended"] == {"ends": loss(CURVE, 4)}
    assert found["goes_on"] == ["open"]


def write_run(path: Path, last: int, share: float) -> None:
    """Write a run of 4 rounds at most, whose score without transitions is a share of that with them."""
    lines = [{"round": number, "metrics": {}} for number in range(1, last + 1)]
    for line, value in zip(lines[1::2], (0.1, 0.2), strict=False):
        dense = {"NDCG@10": {"mean": share * value}}
        line |= {"validation": {"NDCG@10": {"mean": value}}, "without_transitions": dense}
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifest = {"format": FORMAT, "config": {"federated": {"num_rounds": 4}}, "dataset": {}, "features": {}}
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(("last", "whole", "seen"), [(4, True, 2), (3, False, 1)])
def test_a_run_says_whether_it_was_trained_to_its_last_round(tmp_path, last, whole, seen):
    write_run(tmp_path, last, 0.5)
    curves = {"as trained": [0.1, 0.2][:seen], "without transitions": [0.05, 0.1][:seen]}
    assert curves_of(tmp_path) == (whole, curves)


def test_a_model_without_transitions_has_one_curve(tmp_path):
    write_run(tmp_path, 4, 1.0)
    assert curves_of(tmp_path) == (True, {"as trained": [0.1, 0.2]})


def test_a_curve_counts_where_it_is():
    found = {
        "full": (True, {"as trained": RISING, "without transitions": CURVE}),
        "none": (False, {"as trained": CURVE}),
    }
    trained, without = (record_of(found, kind) for kind in ("as trained", "without transitions"))
    assert (trained["whole"], trained["unfinished"]) == ({"full": RISING}, {"none": CURVE})
    assert (without["whole"], without["unfinished"]) == ({"full": CURVE}, {})
    assert trained["rules"]["patience 5"]["goes_on"] == ["none"]
