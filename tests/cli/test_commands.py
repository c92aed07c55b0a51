"""The commands, by what they print and leave on the disk."""

import csv
import json
import math
import re
from itertools import groupby

import numpy as np
import pytest

from fedmem import __version__
from fedmem.checkpoint import RunDirectory
from fedmem.config import ExperimentConfig
from fedmem.config_reader import load_config
from fedmem.contracts import RecommendationResponse
from tests.tiny import files_of

COMMANDS = (
    (),
    ("data",),
    ("data", "fetch"),
    ("data", "demo"),
    ("data", "import"),
    ("data", "list"),
    ("data", "remove"),
    ("db", "upgrade"),
    ("db", "current"),
    ("config",),
    ("config", "show"),
    ("train",),
    ("evaluate",),
    ("recommend",),
    ("serve",),
)


def strict(text: str) -> object:
    """JSON that holds no NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(fedmem, command):
    outcome = fedmem(*command, "--help")
    assert outcome.code == 0
    assert outcome.err == ""
    assert re.search(rf"Usage: .*fedmem {' '.join(command)}", outcome.out)


def test_the_version(fedmem):
    assert fedmem("--version").out == f"fedmem {__version__}\n"


def test_demo_data_is_written(fedmem, tmp_path, monkeypatch):
    monkeypatch.setattr("fedmem.data.demo.write_demo", lambda out, *, seed, progress: out / str(seed))
    outcome = fedmem("data", "demo", "--out", tmp_path, "--seed", "7")
    assert (outcome.code, outcome.out) == (0, f"{tmp_path / '7'}\n")


# config show


def test_config_show_lists_every_setting(fedmem):
    outcome = fedmem("config", "show", "--set", "federated.num_rounds=123")
    assert outcome.code == 0
    assert "123" in outcome.out
    for key in ("federated.num_rounds", "fedmem.surprise_threshold", "seed", "ablation.disable_moe"):
        assert key in outcome.out


@pytest.mark.parametrize(
    "options", [("--json", "--yaml"), ("--services", "--yaml"), ("--services", "--set", "seed=1")], ids=" ".join
)
def test_config_show_ignores_no_option(fedmem, options):
    outcome = fedmem("config", "show", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert "give --json or --yaml" in outcome.err


def test_config_show_json_is_the_configuration(fedmem, config):
    outcome = fedmem("config", "show", "--json", "--config", config, "--set", "seed=9")
    found = ExperimentConfig.model_validate(strict(outcome.out))
    assert found == load_config(config, ("seed=9",))


def test_config_show_yaml_is_a_configuration(fedmem, tmp_path):
    outcome = fedmem("config", "show", "--yaml", "--set", "features.text=off", "--set", "training.batch_size=null")
    path = tmp_path / "shown.yaml"
    path.write_text(outcome.out, encoding="utf-8")
    assert load_config(path) == load_config(None, ("features.text=off",))


# train


def test_training_prints_the_test_result_and_what_next(fedmem, data, config, quick, tmp_path):
    outcome = fedmem("train", "--data", data, "--config", config, "--out", tmp_path / "run", *quick)
    assert outcome.code == 0
    assert "NDCG@10" in outcome.out
    assert "6 rounds" in outcome.err
    assert f"fedmem recommend {tmp_path / 'run'}" in outcome.err


def test_training_says_what_all_budgets_will_cost_and_that_no_loss_is_sent(fedmem, data, config, quick, tmp_path):
    settings = ("privacy.weights_epsilon=8", "privacy.metrics_epsilon=3", "ablation.disable_prototype_agg=true")
    given = [word for each in (*settings, "log_interval=1") for word in ("--set", each)]
    outcome = fedmem("train", "--data", data, "--config", config, "--out", tmp_path / "run", *quick, *given)
    assert outcome.code == 0, outcome.err
    said = " ".join(outcome.err.split())
    assert "the weights will spend epsilon 8 " in said
    assert "all budgets together will spend epsilon 11 at delta 1e-06 for a user, on weights and metrics alone" in said
    assert "round 1/6 loss not sent" in said
    assert "no client drawn" not in said


def test_training_json_is_for_a_program(fedmem, data, config, quick, tmp_path):
    outcome = fedmem("train", "--data", data, "--config", config, "--out", tmp_path / "run", "--json", *quick)
    summary = strict(outcome.out)
    record = RunDirectory(tmp_path / "run").read_record()
    assert summary["rounds"] == 6
    assert (summary["best_round"], summary["test"]) == (record.best, record.test)
    assert summary["directory"] == str(tmp_path / "run")


def test_without_out_the_run_is_in_save_dir(fedmem, data, config, quick, tmp_path):
    place = tmp_path / "by" / "config"
    outcome = fedmem("train", "--data", data, "--config", config, "--set", f"save_dir={place}", *quick)
    assert outcome.code == 0
    assert RunDirectory(place).read_record().finished


def test_a_resumed_finished_run_is_left_as_it_is(fedmem, data, config, quick, tmp_path):
    command = ("train", "--data", data, "--config", config, "--out", tmp_path / "run", "--resume", *quick)
    assert fedmem(*command).code == 0
    before = files_of(tmp_path / "run")
    outcome = fedmem(*command)
    assert outcome.code == 0
    assert files_of(tmp_path / "run") == before


def test_more_rounds_can_be_added(fedmem, data, config, quick, tmp_path, trained):
    command = ("train", "--data", data, "--config", config, "--out", tmp_path / "run", *quick)
    assert fedmem(*command, "--set", "federated.num_rounds=4").code == 0
    assert fedmem(*command, "--resume").code == 0
    assert files_of(tmp_path / "run") == files_of(trained)


# evaluate


def test_evaluate_json(fedmem, trained):
    found = strict(fedmem("evaluate", trained, "--json").out)
    record = RunDirectory(trained).read_record()
    tables = {row["name"]: row for row in found["warm"]}
    assert (found["split"], found["round"], found["cold"]) == ("test", record.best, [])
    assert tables.keys() == {"chance", "popularity", "item-item counts", "EASE + recency", "trained model"}
    assert tables["trained model"]["metrics"] == record.test["metrics"]
    assert tables["trained model"]["num_users"] == 12


def test_evaluate_on_validation_without_baselines(fedmem, trained):
    found = strict(fedmem("evaluate", trained, "--json", "--no-baselines", "--split", "validation").out)
    assert abs(sum(found["shares"].values()) - 1) < 1e-6
    assert [row["name"] for row in found["warm"]] == ["trained model"]
    best = next(line for line in RunDirectory(trained).read_metrics() if line["round"] == found["round"])
    assert found["warm"][0]["metrics"] == best["validation"]


def test_evaluate_prints_a_table_with_controls(fedmem, trained):
    outcome = fedmem("evaluate", trained, "--controls")
    assert outcome.code == 0
    for name in ("chance", "popularity", "EASE + recency", "trained model", "random prototypes", "films, test"):
        assert name in outcome.out


def test_evaluate_puts_another_run_beside_it(fedmem, trained):
    found = strict(fedmem("evaluate", trained, "--json", "--no-baselines", "--beside", trained).out)
    assert [row["name"] for row in found["warm"]] == ["trained model", str(trained)]
    assert found["warm"][0]["metrics"] == found["warm"][1]["metrics"]
    assert found["differences"][str(trained)]["NDCG@10"] == [0, 0], "it is the same run"


def test_evaluate_names_the_settings_in_which_another_run_differs(fedmem, data, config, quick, trained, tmp_path):
    settings = ("--set", "federated.num_rounds=2", *quick)
    assert fedmem("train", "--data", data, "--config", config, "--out", tmp_path / "run", *settings).code == 0
    outcome = fedmem("evaluate", trained, "--json", "--no-baselines", "--beside", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    (said,) = [line for line in outcome.err.splitlines() if line.startswith("--beside")]
    assert "federated.num_rounds 2 instead of 6" in said


def test_evaluate_shows_users_who_never_trained(fedmem, data, config, quick, tmp_path):
    settings = ("--set", "data.cold_user_fraction=0.4", *quick)
    assert fedmem("train", "--data", data, "--config", config, "--out", tmp_path / "run", *settings).code == 0
    found = strict(fedmem("evaluate", tmp_path / "run", "--json", "--no-baselines").out)
    assert found["warm"][0]["num_users"] == 7
    assert [row["name"] for row in found["cold"]] == [f"trained model, n = {n}" for n in (0, 1, 2, 3, 5, 10)]


def test_evaluate_measures_lists(fedmem, trained):
    found = strict(fedmem("evaluate", trained, "--json", "--no-baselines", "--lists").out)["lists"]["trained model"]
    assert found.keys() == {"coverage", "long-tail share"}  # no text, no diversity
    assert 0 < found["coverage"] <= 1
    assert "long-tail share" in fedmem("evaluate", trained, "--lists").out


def test_evaluate_measures_thirds_of_the_users(fedmem, trained):
    found = strict(fedmem("evaluate", trained, "--json", "--no-baselines", "--groups").out)["groups"]["trained model"]
    assert {criterion: [third["name"] for third in thirds] for criterion, thirds in found.items()} == {
        "activity": ["few interactions", "middle", "many"],
        "taste": ["like others", "middle", "unlike others"],
    }
    shown = fedmem("evaluate", trained, "--groups").out
    assert "thirds of the users by activity" in shown
    assert "thirds of the users by taste" in shown


def test_evaluate_refuses_stored_negatives_of_other_data(fedmem, trained, tmp_path):
    users, items = np.array([0]), np.array([[1]])
    path = tmp_path / "negatives.npz"
    np.savez(path, users=users, items=items, split="test", dataset_digest="0" * 64)
    outcome = fedmem("evaluate", trained, "--negatives", path)
    assert outcome.code == 2
    assert "draw them again" in outcome.err


def test_evaluate_refuses_negatives_that_a_small_catalogue_lacks(fedmem, trained, tmp_path):
    outcome = fedmem("evaluate", trained, "--negatives", tmp_path / "negatives.npz")
    assert outcome.code == 2
    assert "100" in outcome.err
    assert not (tmp_path / "negatives.npz").exists()


# recommend


def test_recommend_prints_titles_beside_what_was_chosen_last(fedmem, trained):
    outcome = fedmem("recommend", trained, "--user", "u03", "-k", "4")
    assert outcome.code == 0
    assert "u03 last chose: [rec] :cat: Film" in outcome.out
    assert outcome.out.count("[rec] :cat: Film") == 5 + 4
    assert outcome.err == ""


def test_recommend_prints_what_adds_up_to_a_score(fedmem, trained):
    asked = ("recommend", trained, "--user", "u03", "-k", "2", "--explain")
    printed, found = fedmem(*asked).out, strict(fedmem(*asked, "--json").out)
    assert "made of" in printed
    for item in found["items"]:
        parts = item["explanation"]
        assert len(parts["remembered"]) > 3, "what is left of them is one line"
        first = parts["remembered"][0]
        assert f"{first['score']:+.2f} because of {first['title']}" in printed
        assert f"{parts['sequence']:+.2f} sequence" in printed
    assert printed.count("because of other items") == 2
    assert "made of" not in fedmem("recommend", trained, "--user", "u03").out


def test_recommend_json(fedmem, trained):
    found = strict(fedmem("recommend", trained, "--user", "u03", "-k", "4", "--json").out)
    assert found.keys() == RecommendationResponse.model_fields.keys()
    assert (found["user_id"], found["strategy"], len(found["items"])) == ("u03", "model", 4)
    assert found["items"][0]["title"].startswith("[rec] :cat: Film")
    assert (found["items"][0]["genres"], found["items"][0]["year"]) == (["Drama"], 1990)


def test_in_bulk_every_user_has_a_ranked_list(fedmem, trained, data, tmp_path):
    out = tmp_path / "recs.csv"
    outcome = fedmem("recommend", trained, "--all-users", "-k", "5", "--out", out)
    assert (outcome.code, outcome.out) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["recs.csv"]
    with out.open(encoding="utf-8", newline="") as file:
        assert file.readline() == "user_id,rank,item_id,score\r\n"
        rows = list(csv.reader(file))
    with (data / "interactions.csv").open(encoding="utf-8", newline="") as file:
        seen = {(row["user_id"], row["item_id"]) for row in csv.DictReader(file)}
    lists = {user: list(group) for user, group in groupby(rows, key=lambda row: row[0])}
    assert sorted(lists) == [f"u{user:02d}" for user in range(12)]
    for user, found in lists.items():
        assert [int(rank) for _, rank, _, _ in found] == list(range(1, len(found) + 1))
        assert len(found) <= 5
        assert not {(user, item) for _, _, item, _ in found} & seen
        values = [float(score) for *_, score in found]
        assert values == sorted(values, reverse=True)
        assert all(map(math.isfinite, values))
    single = strict(fedmem("recommend", trained, "--user", "u03", "-k", "5", "--json").out)
    assert [item["item_id"] for item in single["items"]] == [item for _, _, item, _ in lists["u03"]]


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--user", "u03", "--all-users"),
        ("--all-users",),
        ("--all-users", "--explain", "--out", "recs.csv"),
        ("--user", "u03", "-k", "0"),
        ("--user", "u03", "-k", "x"),
    ],
    ids=" ".join,
)
def test_options_that_do_not_go_together(fedmem, trained, options):
    outcome = fedmem("recommend", trained, *options)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
