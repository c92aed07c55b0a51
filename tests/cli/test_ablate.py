"""``fedmem ablate``: what it trains, what it prints, what it refuses, and that it continues where it stopped."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from cli.ablating import rungs_of, seeds_of
from cli.cold_tables import ServedNewItems
from fedmem.checkpoint import RunDirectory
from fedmem.data.formats import load_dataset
from fedmem.evaluation.baselines import ItemItemCounts
from fedmem.evaluation.cold_items import evaluate_new_items, hold_out_items
from fedmem.evaluation.evaluate import evaluate
from fedmem.evaluation.new_item_baselines import Chance
from fedmem.randomness import numpy_generator
from fedmem.rungs import LADDER, RUNGS
from fedmem.serving import Recommender, read_experiment
from fedmem.serving.experiments import read_folder
from fedmem.serving.new_items import encoder_of
from tests.cli.test_interrupt import LONG, ROUNDS, process, wait_for
from tests.tiny import files_of
from tests.waiting import PATIENCE

BASELINES = ["chance", "popularity", "item-item counts", "EASE + recency"]
# A rung whose run has both is shown without the transition memory first.
MODELS = [name for rung in LADDER for name in (rung.without, rung.title) if name]


def runs_in(out: Path) -> dict[str, dict[str, bytes]]:
    return {path.name: files_of(path) for path in out.iterdir() if path.is_dir()}


def untimed(record: dict) -> dict:
    """The record without what the clock says."""
    models = [
        model
        | {
            "runs": [
                {key: value for key, value in run.items() if key not in ("seconds", "started")} for run in model["runs"]
            ]
        }
        for model in record["models"]
    ]
    return record | {"models": models}


@pytest.fixture(scope="session")
def command(data, config, quick) -> tuple[object, ...]:
    return ("ablate", "--data", data, "--config", config, *quick)


@pytest.fixture(scope="session")
def ladder(fedmem, command, tmp_path_factory):
    """All rungs with one seed: (directory, outcome)."""
    out = tmp_path_factory.mktemp("ladder") / "out"
    outcome = fedmem(*command, "--out", out, "--set", "log_interval=1")
    assert outcome.code == 0, outcome.err
    return out, outcome


def test_ablate_explains_itself(fedmem):
    outcome = fedmem("ablate", "--help")
    assert (outcome.code, outcome.err) == (0, "")
    for rung in RUNGS:
        assert rung.name in outcome.out


def test_the_table_has_a_row_for_each_baseline_and_rung(ladder):
    out, outcome = ladder
    rows = [line.split(" | ") for line in outcome.out.split("\n\n")[0].splitlines()]
    assert [row[0].removeprefix("| ") for row in rows[2:]] == [*BASELINES, *MODELS]
    assert {path.name for path in out.iterdir()} == {"ablation.json", *(f"{rung.name}-42" for rung in LADDER)}
    assert outcome.out.splitlines()[-1].startswith("films (")


def test_the_progress_says_which_run_of_how_many(ladder):
    _, outcome = ladder
    lines = outcome.err.splitlines()
    assert any(line.startswith("transitions-42 (3 of 6), round 3/6  loss ") for line in lines)
    assert any(line.startswith("fedmem_full-42 (6 of 6), round 6/6") and "validation HR@10 " in line for line in lines)


def test_the_figures_are_those_of_the_runs(ladder):
    out, outcome = ladder
    record = json.loads((out / "ablation.json").read_text(encoding="utf-8"))
    models = {model["name"]: model["runs"] for model in record["models"]}
    rows = {line.split(" | ")[0][2:]: line for line in outcome.out.split("\n\n")[0].splitlines()}
    for rung in LADDER:
        directory = RunDirectory(out / f"{rung.name}-42")
        reached = directory.read_record()
        (run,) = models[rung.title]
        assert run["test"] == reached.test["metrics"]
        value = reached.test["metrics"]["NDCG@10"]
        assert f"{value['mean']:.3f} ± {value['standard_error']:.3f}".replace("0.", ".") in rows[rung.title]
        assert f"| {reached.best}/{reached.last}" in rows[rung.title]
    snapshot = RunDirectory(out / "fedmem_full-42").read_snapshot()
    assert record["dataset"] == {"name": "films", "digest": snapshot.dataset.digest, "users": 12}


def test_the_last_rung_is_compared_in_pairs(ladder):
    out, outcome = ladder
    record = json.loads((out / "ablation.json").read_text(encoding="utf-8"))
    compared = [name for name in (*BASELINES, *MODELS) if name != "chance"]
    pairs = [(row["model"], row["other"]) for row in record["differences"] if row["metric"] == "NDCG@10"]
    assert sorted(pairs) == sorted((a, b) for n, b in enumerate(compared) for a in compared[n + 1 :])
    means = {model["name"]: model["runs"][0]["test"]["NDCG@10"]["mean"] for model in record["models"]}
    for row in record["differences"]:
        if row["metric"] == "NDCG@10":
            assert row["mean"] == pytest.approx(means[row["model"]] - means[row["other"]])
            assert row["low"] <= row["mean"] <= row["high"]
    table = outcome.out.split("\n\n")[2].splitlines()
    assert table[0] == "| FedMem-Full minus | test HR@10 | p | test NDCG@10 | p |"
    assert [line.split(" | ")[0][2:] for line in table[2:]] == compared[:-1]


def test_the_dashboard_shows_what_is_put_under_a_name(fedmem, command, ladder, tmp_path, monkeypatch):
    monkeypatch.setenv("FEDMEM_DATA_DIR", str(tmp_path))
    shutil.copytree(ladder[0], tmp_path / "experiments" / "first")
    outcome = fedmem(*command, "--name", "first", "--set", "log_interval=1")
    assert (outcome.code, outcome.out) == (0, ladder[1].out)
    found = read_experiment(tmp_path, "first")
    assert (found.state, found.kind, found.configurations) == ("finished", "ablation", len(LADDER))
    assert [model.name for model in found.ablation.models] == [*BASELINES, *MODELS]
    assert {model.name for model in found.ablation.models if model.baseline} == set(BASELINES)
    assert len(found.ablation.differences) == len(json.loads((ladder[0] / "ablation.json").read_text())["differences"])


def test_the_lists_are_measured(ladder):
    _, outcome = ladder
    lists = outcome.out.split("\n\n")[1].splitlines()
    assert lists[0] == "| lists of ten | coverage | long-tail share |"
    assert len(lists) == 2 + len(BASELINES) - 1 + len(MODELS)


class Encoder:
    """Texts as vectors drawn from their length, without weights."""

    identity = "drawn"

    def __init__(self, name: str = "") -> None: ...

    def encode(self, texts: list[str], progress: object = None) -> np.ndarray:
        return np.stack([np.random.default_rng(len(text)).standard_normal(7).astype(np.float32) for text in texts])


def test_lists_of_a_rung_without_texts_are_measured_by_the_others(fedmem, data, config, tmp_path, monkeypatch):
    monkeypatch.setattr("fedmem.features.build.TextEncoder", Encoder)
    settings = ("--set", "federated.num_rounds=2", "--set", "features.image=off", "--rungs", "sasrec,transitions")
    outcome = fedmem("ablate", "--data", data, "--config", config, *settings, "--out", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    lists = {model["name"]: model["runs"][0]["lists"] for model in json.loads(outcome.out)["models"][1:]}
    assert {tuple(one) for one in lists.values()} == {("coverage", "long-tail share", "text diversity")}


def test_new_users_and_new_items_are_in_the_tables(fedmem, data, config, tmp_path, monkeypatch):
    for place in ("fedmem.features.build.TextEncoder", "fedmem.serving.new_items.TextEncoder"):
        monkeypatch.setattr(place, Encoder)
    encoder_of.cache_clear()
    settings = ("--set", "federated.num_rounds=2", "--set", "features.image=off", "--rungs", "sasrec,transitions")
    cold = ("--seeds", "1,2", "--cold-users", 0.4, "--cold-items", 0.2)
    command = ("ablate", "--data", data, "--config", config, *settings, *cold, "--out", tmp_path / "out")
    outcome = fedmem(*command)
    encoder_of.cache_clear()
    assert outcome.code == 0, outcome.err
    assert "SASRec, ids only has no figure among new items" in outcome.err
    record = json.loads((tmp_path / "out" / "ablation.json").read_text(encoding="utf-8"))
    whole = load_dataset(data)
    for seed, run in zip((1, 2), record["new_items"][0]["runs"], strict=True):
        held_out = hold_out_items(whole, 0.2, numpy_generator(seed, "new items"))
        snapshot = RunDirectory(tmp_path / "out" / f"transitions-{seed}").read_snapshot()
        assert snapshot.dataset.digest == held_out.dataset.digest
        assert len(snapshot.dataset.cold_users) == 5
        trained = held_out.among(snapshot.dataset.trainable_users)
        assert run["NDCG@20"]["mean"] == pytest.approx(evaluate_new_items(trained, Chance()).mean())
        served = ServedNewItems(Recommender.load(tmp_path / "out" / f"transitions-{seed}"))
        found = next(model["runs"] for model in record["new_items"] if model["name"] == "FedMem-Transitions")
        values = {one["seed"]: one["NDCG@20"]["mean"] for one in found}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fedmem.serving.new_items.TextEncoder", Encoder)
            assert values[seed] == pytest.approx(evaluate_new_items(trained, served).mean())
        encoder_of.cache_clear()
    names = ["popularity", "item-item counts", "EASE + recency", "SASRec, ids only", "FedAvg-SASRec"]
    assert [model["name"] for model in record["new_users"]] == [*names, "FedMem-Transitions"]
    assert list(record["new_users"][0]["runs"][1]["by_interactions"]) == ["0", "1", "2", "3", "5", "10"]
    tables = outcome.out.split("\n\n")
    assert tables[2].startswith("| new users' test NDCG@10 | n = 0 |")
    assert tables[3].startswith("| new items' NDCG@20 | mean |")
    assert read_folder(tmp_path / "out").ablation.new_items[0].name == "chance"


def test_baselines_are_of_the_same_split(ladder, data):
    out, _ = ladder
    record = json.loads((out / "ablation.json").read_text(encoding="utf-8"))
    dataset = load_dataset(data)
    for split in ("validation", "test"):
        expected = evaluate(dataset, ItemItemCounts(dataset), split).to_dict()["metrics"]
        (run,) = next(model["runs"] for model in record["models"] if model["name"] == "item-item counts")
        assert run[split] == expected


def test_full_is_what_train_makes_of_the_configuration(ladder, trained):
    out, _ = ladder
    found, expected = files_of(out / "fedmem_full-42"), files_of(trained)
    assert found.pop("manifest.json") != expected.pop("manifest.json")  # log_interval
    assert found == expected


def test_the_same_command_again_trains_nothing(fedmem, command, ladder, tmp_path):
    out, outcome = ladder
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    again = fedmem(*command, "--out", copy, "--set", "log_interval=1")
    assert (again.code, again.out) == (0, outcome.out)
    assert "fedmem_full-42 (6 of 6): finished already" in again.err
    assert ", round " not in again.err
    assert {path: files_of(copy / path) for path in runs_in(out)} == runs_in(out)


def test_several_seeds_and_some_rungs_as_json(fedmem, command, tmp_path):
    out = tmp_path / "out"
    cold = ("--set", "data.cold_user_fraction=0.4")
    outcome = fedmem(*command, *cold, "--out", out, "--seeds", "1,2", "--rungs", "transitions,centralised", "--json")
    assert outcome.code == 0, outcome.err
    record = json.loads(outcome.out)
    assert record == json.loads((out / "ablation.json").read_text(encoding="utf-8"))
    assert {model["name"]: [run["seed"] for run in model["runs"]] for model in record["models"]} == {
        name: [1, 2] for name in (*BASELINES, "centralised SASRec", "FedAvg-SASRec", "FedMem-Transitions")
    }
    assert record["dataset"]["users"] == 7
    datasets = [RunDirectory(out / f"transitions-{seed}").read_snapshot().dataset for seed in (1, 2)]
    assert not np.array_equal(datasets[0].trainable_users, datasets[1].trainable_users)
    for dataset, run in zip(datasets, record["models"][2]["runs"], strict=True):  # baselines see each seed's users
        assert run["test"] == evaluate(dataset, ItemItemCounts(dataset), "test").to_dict()["metrics"]
    cohort = RunDirectory(out / "transitions-1").read_metrics()[0]["metrics"]["clients"]
    assert RunDirectory(out / "centralised-1").read_config().federated.centralised_batch == cohort


def test_controls_are_rungs_like_any_other(fedmem, command, tmp_path):
    short = ("--set", "federated.num_rounds=2", "--rungs", "fedmem_full,no_memory,fedavg_original")
    outcome = fedmem(*command, *short, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    names = ["FedAvg, original", "FedMem-NoMemory", "FedMem-NoTransitions", "FedMem-Full"]
    tables = [[line.split(" | ")[0][2:] for line in table.splitlines()] for table in outcome.out.split("\n\n")]
    assert tables[0][-4:] == names
    assert tables[2][0] == "FedMem-Full minus"
    assert tables[2][-3:] == names[:-1]
    found = read_folder(tmp_path / "out")
    assert [model.name for model in found.ablation.models if not model.baseline] == names
    assert {("FedMem-NoMemory", "FedAvg, original"), ("FedMem-Full", "FedMem-NoMemory")} <= {
        (row.model, row.other) for row in found.ablation.differences
    }
    reached = RunDirectory(tmp_path / "out" / "fedavg_original-42").read_config()
    assert (reached.training.optimizer, reached.federated.server_optimizer) == ("adam", "none")


def test_all_is_the_ladder_with_its_controls():
    assert rungs_of(None) == list(LADDER)
    assert rungs_of("all") == rungs_of("no_text,all") == list(RUNGS)
    assert [rung.name for rung in rungs_of("fedmem_full, no_text")] == ["no_text", "fedmem_full"]


@pytest.mark.parametrize(
    ("asked", "seeds"),
    [(None, [7]), ("3", [7, 8, 9]), ("1", [7]), ("42,", [42]), ("42, 43", [42, 43]), ("5,5", [5]), ("3,1", [3, 1])],
)
def test_a_number_alone_is_how_many_seeds(asked, seeds):
    assert seeds_of(asked, 7) == seeds


def test_one_setting_at_a_time_is_varied(fedmem, command, tmp_path):
    out, vary = tmp_path / "out", ("--vary", "model.fusion_method=weighted,learned")
    outcome = fedmem(*command, "--set", "federated.num_rounds=2", "--out", out, *vary)
    assert outcome.code == 0, outcome.err
    record = json.loads((out / "ablation.json").read_text(encoding="utf-8"))
    names = ["FedMem-NoTransitions", "FedMem-Full", "FedMem-Full, model.fusion_method = learned"]
    assert [model["name"] for model in record["models"]][len(BASELINES) :] == names
    changed = RunDirectory(out / "model.fusion_method-learned-42").read_config()
    assert changed.model_dump()["model"] == RunDirectory(out / "fedmem_full-42").read_config().model_dump()["model"] | {
        "fusion_method": "learned"
    }


def test_an_interrupted_ladder_continues_to_the_same_files(fedmem, command, tmp_path):
    command = (*command, *LONG, "--rungs", "transitions,fedmem_full", "--out")
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    with process(*command, stopped) as running:
        wait_for(stopped / "fedmem_full-42" / "run.json", running)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=PATIENCE)
    assert (running.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    last = RunDirectory(stopped / "fedmem_full-42").read_record().last
    assert 0 < last < ROUNDS
    assert f"stopped after round {last}; continue with the same command" in err
    assert not (stopped / "ablation.json").exists()
    assert fedmem(*command, stopped).code == 0
    assert fedmem(*command, whole).code == 0
    assert runs_in(stopped) == runs_in(whole)
    records = [json.loads((out / "ablation.json").read_text(encoding="utf-8")) for out in (stopped, whole)]
    assert untimed(records[0]) == untimed(records[1])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--rungs", "transitions,top"), "there is no rung 'top'; choose from sasrec, centralised, transitions"),
        (("--rungs", ""), "there is no rung ''"),
        (("--cold-items", "2"), "a share of 2.0 of"),
        (("--cold-users", "1"), "--cold-users 1: expected a share"),
        (("--name", "first"), "--name first and --out"),
        (("--seeds", "1,two"), "--seeds '1,two': expected how many, e.g. 3, or whole numbers"),
        (("--seeds", "-1"), "--seeds '-1'"),
        (("--seeds", ","), "--seeds ','"),
        (("--seeds", "0"), "--seeds 0: a number alone says how many, 1 to 20"),
        (("--seeds", "42"), "For seed 42 alone write --seeds 42, with a comma"),
        (("--set", "features.preference_text=required"), "the rung centralised: "),
        (("--set", "nothing=1"), "unknown key 'nothing'"),
        (("--workers", "0"), "workers = 0"),
        (("--vary", "model.fusion_method"), "--vary 'model.fusion_method': expected KEY=VALUE,VALUE"),
        (("--vary", "model.fusion_method=[learned"), "not valid YAML"),
        (("--vary", "model.fusion=learned"), "unknown key 'model.fusion' (did you mean 'model.fusion_method'?)"),
        (("--vary", "model.fusion_method=learned,clever"), "model.fusion_method = 'clever'"),
    ],
)
def test_a_bad_choice_is_one_line_and_nothing_is_written(fedmem, command, tmp_path, options, named):
    outcome = fedmem(*command, "--out", tmp_path / "out", *options)
    assert (outcome.code, outcome.out) == (2, "")
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert named in errors[0]
    assert not (tmp_path / "out").exists()


def test_a_place_with_other_runs_is_refused_before_anything_is_trained(
    fedmem, command, config, quick, ladder, tmp_path
):
    out = tmp_path / "out"
    shutil.copytree(ladder[0] / "fedmem_full-42", out / "fedmem_full-42")  # the last that would be trained
    before = files_of(out)
    other = tmp_path / "other.csv"
    rows = "".join(f"u{user},m{item},{item}\n" for user in range(4) for item in range(user, user + 7))
    other.write_text(f"user_id,item_id,timestamp\n{rows}", encoding="utf-8")
    outcome = fedmem("ablate", "--data", other, "--config", config, *quick, "--out", out)
    assert outcome.code == 2
    assert "fedmem_full-42: the run was started on other data" in outcome.err
    outcome = fedmem(*command, "--out", out, "--set", "training.loss=bpr")
    assert outcome.code == 2
    assert "training.loss was 'full_softmax' when the run started and is now 'bpr'" in outcome.err
    assert files_of(out) == before


def test_a_place_that_is_a_file_is_refused(fedmem, command, tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    outcome = fedmem(*command, "--out", tmp_path / "file")
    assert (outcome.code, outcome.out) == (2, "")
    assert "file/sasrec-42: cannot be written" in outcome.err
