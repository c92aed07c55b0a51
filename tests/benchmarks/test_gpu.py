"""The long runs on a GPU: what is said of them, how they begin on any machine, and what is said where there is none."""

import json
import sys

import pytest
import torch

from benchmarks import gpu
from fedmem.checkpoint import RunDirectory
from tests.tiny import walks


def result(hit_rate: float, seconds: float = 60.0, rounds: int = gpu.LONG) -> dict:
    measured = {"HR@10": {"mean": hit_rate, "standard_error": 0.01}}
    return {"validation": measured, "test": measured, "seconds": seconds, "rounds": rounds}


def test_metrics_differ_by_so_many_standard_errors():
    found = gpu.figures({"cpu": result(0.1, 90.0), "gpu": result(0.105)})
    assert found["minutes"] == {"cpu": 1.5, "gpu": 1.0}
    assert found["gpu_less_cpu_in_standard_errors"]["test"]["HR@10"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("seconds", "rounds", "met"), [(179, gpu.LONG, True), (181, gpu.LONG, False), (60, 400, False)]
)
def test_the_goal_is_met_in_time_and_by_all_rounds(seconds, rounds, met):
    assert gpu.figures({"long": result(0.3, seconds, rounds)})["met"] is met


def test_what_is_known_of_one_run_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    gpu.written(tmp_path, {"gpu": result(0.1)})
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["machine"]["gpu"] == "a card"
    assert "met" not in found


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_where_there_is_no_gpu_it_says_so_and_begins_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="no GPU"):
        gpu.main()
    assert not (tmp_path / "out").exists()


def test_runs_begin_on_any_machine_and_are_left_as_they_are(tmp_path, monkeypatch):
    interactions, out = tmp_path / "interactions.csv", tmp_path / "out"
    rows = [f"u{user},i{item},{time}" for user, items in enumerate(walks(6, 30)) for time, item in enumerate(items)]
    interactions.write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")  # no titles: they take an encoder
    monkeypatch.setattr(sys, "argv", ["gpu", "--data", str(interactions), "--out", str(out), "--prepare"])
    gpu.main()
    begun = {name: (out / name / "manifest.json").read_bytes() for name in gpu.RUNS}
    assert {RunDirectory(out / name).read_config().device for name in gpu.RUNS} == {"cpu"}
    gpu.main()
    assert {name: (out / name / "manifest.json").read_bytes() for name in gpu.RUNS} == begun
