"""The table is what the run directories say."""

import json
from pathlib import Path

import pytest

from fedmem import ablation
from fedmem.ablation import ablation_record, run_result
from fedmem.checkpoint import RunDirectory
from fedmem.errors import CheckpointError
from fedmem.evaluation.ablation_table import as_markdown
from fedmem.experiment import TrainingRun
from fedmem.rungs import RUNGS
from tests.tiny import tiny_config, tiny_dataset, tiny_snapshot, trained

BY_NAME = {rung.name: rung for rung in RUNGS}
TRANSITIONS = BY_NAME["transitions"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "fedmem-42"
    trained(path)
    return path


def test_a_result_is_what_the_directory_says(finished):
    found, directory = run_result(finished), RunDirectory(finished)
    record, lines = directory.read_record(), directory.read_metrics()
    assert found["test"] == record.test["metrics"]
    assert found["validation"] == lines[record.best - 1]["validation"]
    assert found["validation"]["NDCG@10"]["mean"] == max(
        line["validation"]["NDCG@10"]["mean"] for line in lines if "validation" in line
    )
    assert found["without_transitions"] is None or found["without_transitions"]["validation"] != found["validation"]
    assert (found["seed"], found["directory"], found["rounds"]) == (42, "fedmem-42", 6)
    assert found["bytes"].keys() == {"down_weights", "down_prototypes", "up_weights", "up_prototypes", "up_transitions"}
    sent = [line["metrics"]["bytes_up_prototypes"] for line in lines]
    assert found["bytes"]["up_prototypes"] == pytest.approx(sum(sent) / len(sent))


def test_one_run_shows_the_model_with_the_transition_memory_and_without():
    without = {"validation": metrics(0.1, 0.05), "test": metrics(0.2, 0.1)}
    runs = [result(1, 0.3, without_transitions=without), result(2, 0.4, without_transitions=None)]
    alone, fused = ablation.rung_models(TRANSITIONS, runs)
    assert (alone["name"], fused["name"]) == ("FedAvg-SASRec", "FedMem-Transitions")
    assert fused["runs"] == runs
    assert [run["test"]["HR@10"]["mean"] for run in alone["runs"]] == [0.2, pytest.approx(0.3)]
    sizes = {"down_weights": 7.0, "up_weights": 8.0, "up_transitions": 9.0}
    sent, _ = ablation.rung_models(TRANSITIONS, [runs[0] | {"bytes": sizes}])
    assert sent["runs"][0]["bytes"] == {"down_weights": 7.0, "up_weights": 8.0}, "no transitions, which it has none of"
    assert [model["name"] for model in ablation.rung_models(BY_NAME["fedmem_no_proto"], runs)] == ["FedMem-NoProto"]


def test_pooled_training_sends_nothing(tmp_path):
    config = tiny_config(federated={"centralised_batch": 6, "num_rounds": 2})
    trained(tmp_path / "run", tiny_snapshot(config))
    result = run_result(tmp_path / "run")
    assert result["bytes"] is None
    row = as_markdown(ablation_record(tiny_dataset(), [{"name": "pooled", "runs": [result]}])).splitlines()[2]
    assert "| 2/2 epochs |  |  |" in row


def test_a_run_without_a_validation_has_an_empty_cell(tmp_path):
    trained(tmp_path / "run", tiny_snapshot(tiny_config(evaluation={"eval_every": 99})))
    result = run_result(tmp_path / "run")
    assert result["validation"] is None
    row = as_markdown(ablation_record(tiny_dataset(), [{"name": "model", "runs": [result]}])).splitlines()[2]
    assert row.startswith("| model |  |  | .")


def test_an_unfinished_run_has_no_result(tmp_path):
    run = TrainingRun.start(tmp_path / "run", tiny_snapshot())
    for _ in run.rounds():
        pass
    with pytest.raises(CheckpointError, match="not finished"):
        run_result(tmp_path / "run")


def metrics(hr: float, ndcg: float, error: float | None = 0.0142) -> dict[str, object]:
    return {name: {"mean": mean, "standard_error": error} for name, mean in (("HR@10", hr), ("NDCG@10", ndcg))}


def result(seed: int, hr: float, best: int = 40, **changes: object) -> dict[str, object]:
    size = {"down_weights": 1000, "down_prototypes": 500, "up_weights": 2_000_000, "up_prototypes": 400}
    measured = {"validation": metrics(hr, hr / 2), "test": metrics(hr - 0.1, 0.05)}
    return {"seed": seed, **measured, "best_round": best, "rounds": 60, "seconds": 90.0, "bytes": size, **changes}


def rows_of(*models: tuple[str, list[dict[str, object]]]) -> list[str]:
    record = ablation_record(tiny_dataset(), [{"name": name, "runs": runs} for name, runs in models])
    assert json.loads(json.dumps(record)) == record
    return as_markdown(record).splitlines()


def test_one_seed_has_standard_errors_and_several_have_a_range():
    chance = {"seed": 1, "validation": metrics(1.0, 0.25), "test": metrics(0.0, 0.125, error=None)}
    rows = rows_of(
        ("chance", [chance]), ("one", [result(1, 0.3)]), ("two", [result(1, 0.3), result(2, 0.4, 50, seconds=210.0)])
    )
    assert rows[2] == "| chance | 1.000 ± .014 | .250 ± .014 | .000 | .125 |  |  |  |  |"
    assert rows[3] == "| one | .300 ± .014 | .150 ± .014 | .200 ± .014 | .050 ± .014 | 40/60 | 1.5 | 2,000.4 | 1.5 |"
    assert rows[4] == (
        "| two | .350 (.300–.400) | .175 (.150–.200) | .250 (.200–.300) | .050 (.050–.050) "
        "| 40/60, 50/60 | 1.5 | 2,000.4 | 2.5 |"
    )
    assert {row.count("|") for row in rows[:5]} == {10}


def test_the_line_below_says_what_the_table_is_of(monkeypatch):
    monkeypatch.setattr(ablation, "source_commit", lambda: "abc1234")
    dataset = tiny_dataset()
    line = rows_of(("two", [result(1, 0.3), result(2, 0.4)]))[-1]
    for part in (f"tiny ({dataset.digest[:12]}), 12 users, seed 1, 2;", "commit abc1234, 20", "fedmem 0."):
        assert part in line
    monkeypatch.setattr(ablation, "source_commit", lambda: None)
    assert "all models but the baselines read them" in line
    blind = rows_of(*((BY_NAME[name].title, [result(1, 0.3)]) for name in ("sasrec", "no_text", "fedmem_full")))[-1]
    assert "all models but SASRec, ids only and FedMem-NoText and the baselines read them" in blind
    assert "commit" not in rows_of(("one", [result(1, 0.3)]))[-1]
