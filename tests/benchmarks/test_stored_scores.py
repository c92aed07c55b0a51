"""The studies of trained runs at a tiny size: what they keep is what the run measured, and every figure comes out."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fusion_weight, ridge, sketch
from benchmarks.stored_scores import StoredScores, loaded
from fedmem.memory.transitions import UNIT, TransitionCounts
from tests.tiny import tiny_config, tiny_snapshot, trained


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny_config(transitions={"strengths": [0, 0.5], "short_histories": []})
    return trained(tmp_path_factory.mktemp("stored") / "run", tiny_snapshot(config)).directory.path


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, run: Path) -> dict:
    """Run on this run, and keep in here what would be written."""
    kept: dict = {}
    for study in (sketch, fusion_weight, ridge):
        monkeypatch.setattr(study, "write_result", lambda name, values: kept.update({name: values}))
    monkeypatch.setattr("sys.argv", ["study", str(run)])
    return kept


def test_ranks_are_those_of_the_run(run: Path) -> None:
    recommender = loaded(run)
    for strength in (0.0, recommender.scorer.strengths.general):
        found = StoredScores.of(recommender, "test").ndcg(recommender.scorer.transitions, strength)
        record = json.loads((run / "run.json").read_text())
        expected = record["test" if strength else "test_without_transitions"]["metrics"]["NDCG@10"]["mean"]
        assert found == pytest.approx(expected)


def test_each_size_of_the_sketch_is_measured(written: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketch, "SIZES", ((3, 6), (3, 16)))
    sketch.main()
    rows = written["sketch-tiny"]["rows"]
    assert list(rows) == ["none", "exact", "3 x 2^6", "3 x 2^16"]
    assert rows["exact"]["test"] == pytest.approx(rows["3 x 2^16"]["test"], abs=0.05)
    assert rows["none"]["megabytes"] == 0 < rows["3 x 2^6"]["megabytes"] < rows["exact"]["megabytes"]


def test_each_way_to_weigh_is_measured(written: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion_weight, "STEPS", 5)
    monkeypatch.setattr(fusion_weight, "DRAWS", 1)
    fusion_weight.main()
    rows = written["fusion_weight-tiny"]["rows"]
    assert len(rows) == 5
    assert rows["one number"]["gain"] == 0
    assert all(np.isfinite(list(row.values())).all() for row in rows.values())


def test_a_regression_asks_what_an_item_adds_to_the_others() -> None:
    """Item 3 follows 1, which 2 always goes before: what 2 says of 3 is what 1 says already."""
    alone, both = np.array([1, 3]), np.array([2, 1, 3])
    counts = TransitionCounts.of([alone] * 30 + [both] * 30, 3, 10)
    items, weights = ridge.regression(counts, 1.0)
    counted = counts.pairs.toarray()[np.ix_(items, items)] / UNIT
    gram = counted + counted.T + np.diag(2.0 * counts.taken[items] + 1.0)
    np.testing.assert_allclose(gram @ weights, counted, atol=1e-9)
    one, two, three = (items.tolist().index(item) for item in (1, 2, 3))
    assert weights[two, three] / weights[one, three] < counted[two, three] / counted[one, three]


def test_each_penalty_is_measured(written: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "PENALTIES", (10.0,))
    ridge.main()
    rows = written["ridge"]["data"]["tiny"]
    assert list(rows) == [f"{way}, recency {power}" for way in ("counts", "ridge 10") for power in ("0.5", "0.75", "1")]
    assert rows["counts, recency 1"]["gain"] == 0
    assert rows["ridge 10, recency 0.75"]["gain"] != rows["counts, recency 0.75"]["gain"] != 0
