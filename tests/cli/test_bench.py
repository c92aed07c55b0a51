"""fedmem bench: the table, the JSON, and data that are not there."""

import json

import pytest

import benchmarks.measure
import benchmarks.serve

FIGURES = {"p1": 0.2, "p3": 3.5, "p3_original": 200.0, "p4": 2.5, "p5": 1.1, "data": "some users", "machine": {}}


@pytest.fixture(autouse=True)
def seen(monkeypatch):
    """Measuring is tested with the benchmarks; here it is only seen on which data it was asked for."""
    asked = []

    def simulate(dataset, advance):
        advance("measuring", 0, 4)
        asked.append(None if dataset is None else dataset.name)
        return FIGURES

    monkeypatch.setattr("benchmarks.simulate.simulate", simulate)
    return asked


def test_json_for_a_program(fedmem, data, seen):
    outcome = fedmem("bench", "simulate", "--json", "--data", data)
    assert outcome.code == 0
    assert json.loads(outcome.out) == FIGURES
    assert seen == [data.name]


def test_the_table_says_what_is_met(fedmem, monkeypatch, seen):
    monkeypatch.setattr("benchmarks.simulate.find_movielens", lambda: None)
    outcome = fedmem("bench", "simulate")
    lines = {name: line for line in outcome.out.splitlines() for name in FIGURES if f"{name}:" in line}
    assert ["yes" in lines[name] for name in ("p1", "p3", "p3_original", "p4", "p5")] == [
        False,
        True,
        True,
        False,
        True,
    ]
    assert "≥ 0.45" in lines["p1"]
    assert "≤ 2" in lines["p4"]
    assert "fedmem data fetch ml-100k" in outcome.err
    assert seen == [None]


def test_results_are_kept_if_asked(fedmem, data, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks.measure, "RESULTS", tmp_path)
    assert "kept in" not in fedmem("bench", "simulate", "--data", data).err
    assert "simulate.json" in fedmem("bench", "simulate", "--data", data, "--keep").err
    assert json.loads((tmp_path / "simulate.json").read_text(encoding="utf-8")) == FIGURES


def test_data_that_are_not_there(fedmem, tmp_path):
    outcome = fedmem("bench", "simulate", "--data", tmp_path / "nowhere")
    assert outcome.code == 2
    assert "nowhere" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


SERVED = dict.fromkeys(benchmarks.serve.GOALS, 0.3) | {"r1_10k": 1.1, "r1_100k": 1.3, "machine": {}}
LARGE = {"items": 5000, "probes": 32, "recall": 0.9, "ratio": 0.05, "machine": {}}


def test_serving_as_a_table_and_as_json(fedmem, monkeypatch):
    monkeypatch.setattr("benchmarks.serve.serve", lambda advance: SERVED)
    lines = fedmem("bench", "serve").out.splitlines()
    assert [any("yes" in line for line in lines if f"{name}:" in line) for name in ("r1_10k", "r1_100k", "r7")] == [
        True,
        False,
        True,
    ]
    assert json.loads(fedmem("bench", "serve", "--json").out) == SERVED


def test_a_large_catalogue_as_a_table_and_as_json(fedmem, monkeypatch, tmp_path):
    asked = []

    def top_k(items, advance):
        asked.append(items)
        return LARGE

    monkeypatch.setattr("benchmarks.topk.top_k", top_k)
    monkeypatch.setattr(benchmarks.measure, "RESULTS", tmp_path)
    table = fedmem("bench", "topk", "--items", "5000", "--keep").out
    assert "5,000 items, 32 cells" in table
    assert "≥ 0.95" in table
    assert json.loads(fedmem("bench", "topk", "--json").out) == LARGE
    assert asked == [5000, 1_000_000]
    assert (tmp_path / "topk.json").exists()
