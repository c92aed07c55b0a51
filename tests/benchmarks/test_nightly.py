"""The month of nights, on three tiny days: what a night may know, what is measured, and that it goes on."""

import csv

import numpy as np
import pytest

from benchmarks import nightly
from benchmarks.nightly import DAY, Month, compared, record, run
from tests.tiny import walks


@pytest.fixture
def month(tmp_path, monkeypatch):
    monkeypatch.setattr(nightly, "DAYS", 3)
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "timestamp"])
        for user, items in enumerate(walks(12, 20, shortest=8)):
            spread = np.linspace(0, 10 * DAY - 1, len(items)).astype(int)
            rows.writerows([f"u{user}", f"i{item}", 1_700_006_400 + at] for item, at in zip(items, spread, strict=True))
    (tmp_path / "out").mkdir()
    return Month(tmp_path / "rows.csv", tmp_path / "out", 2, 1)


def test_a_night_knows_what_came_before_the_day(month):
    sizes = [len(month.before(day).sequence) for day in (1, 2, 3, 4)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(month.interactions)
    times = month.interactions.timestamps
    assert sizes[0] == (times < month.end - 3 * DAY).sum()


def test_every_interaction_of_a_day_is_a_target_once(month):
    before, after = month.before(2), month.before(3)
    targets = {after.vocabulary.user_id(user): places for user, places in month._targets(before, after)}
    assert sum(map(len, targets.values())) == len(after.sequence) - len(before.sequence)
    for user_id, places in targets.items():
        known = before.vocabulary.find_user(user_id)
        first = 0 if known is None else before.lengths[known]
        assert places.tolist() == list(range(first, after.lengths[after.vocabulary.user_index(user_id)]))


def test_nights_are_trained_measured_and_not_done_again(month):
    run(month)
    found = record(month)
    assert found["days_with_all_models"]["days"] == [2, 3]
    assert set(found["days_with_all_models"]["differences"]) == {
        "continued - anew",
        "continued - kept",
        "anew - kept",
    }
    assert month.night("continued", 3)["last"] == month.night("continued", 2)["best"] + 1
    made = {path: path.stat().st_mtime_ns for path in month.out.rglob("night.json")}
    run(month)
    assert made == {path: path.stat().st_mtime_ns for path in month.out.rglob("night.json")}
    same = compared(month, [2, 3], ("kept", "kept"))
    assert same["differences"]["kept - kept"]["NDCG@10"]["mean"] == 0
