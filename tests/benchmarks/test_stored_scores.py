"""The studies of trained runs at a tiny size: what they keep is what the run measured, and every figure comes out."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fusion_weight, sketch
from benchmarks.stored_scores import StoredScores, loaded
from tests.tiny import tiny_config, tiny_snapshot, trained


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny_config(transitions={"strengths": [0, 0.5], "short_histories": []})
    return trained(tmp_path_factory.mktemp("stored") / "run", tiny_snapshot(config)).directory.path


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, run: Path) -> dict:
    """Run on this run, and keep in here what would be written."""
    kept: dict = {}
    for study in (sketch, fusion_weight):
        monkeypatch.setattr(study, "write_result", lambda name, values: kept.update({name: values["rows"]}))
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
    rows = written["sketch-tiny"]
    assert list(rows) == ["none", "exact", "3 x 2^6", "3 x 2^16"]
    assert rows["exact"]["test"] == pytest.approx(rows["3 x 2^16"]["test"], abs=0.05)
    assert rows["none"]["megabytes"] == 0 < rows["3 x 2^6"]["megabytes"] < rows["exact"]["megabytes"]


def test_each_way_to_weigh_is_measured(written: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion_weight, "STEPS", 5)
    monkeypatch.setattr(fusion_weight, "DRAWS", 1)
    fusion_weight.main()
    rows = written["fusion_weight-tiny"]
    assert len(rows) == 5
    assert rows["one number"]["gain"] == 0
    assert all(np.isfinite(list(row.values())).all() for row in rows.values())
