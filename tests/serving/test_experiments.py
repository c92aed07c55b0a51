"""Experiments in the installation's folder: what is listed, what one holds, and what is damaged or not there yet."""

import datetime
import json
import os

import pytest

from fedmem.contracts import Measured
from fedmem.errors import CheckpointError, UnknownError
from fedmem.serving import experiments
from fedmem.serving.experiments import list_experiments, read_experiment
from tests.example_experiments import ABLATION, STUDY, write_experiment


def test_an_ablation_is_read_with_its_intervals(tmp_path):
    write_experiment(tmp_path, "ladder", "ablation.json", ABLATION)
    found = read_experiment(tmp_path, "ladder")
    assert (found.kind, found.state, found.dataset, found.configurations) == ("ablation", "finished", "tiny", 2)
    assert found.made_on == datetime.date(2026, 11, 26)
    assert found.commit == ABLATION["commit"]
    table = found.ablation
    assert (table.users, table.seeds) == (12, (1, 2))
    assert [(model.name, model.baseline) for model in table.models] == [
        ("popularity", True),
        ("item-item counts", True),
        ("FedAvg-SASRec", False),
        ("FedMem-Full", False),
    ]
    full = table.models[-1]
    assert full.test["NDCG@10"] == Measured(mean=0.26, standard_error=0.01, lowest=0.24, highest=0.28)
    assert (full.best_rounds, full.last_rounds, full.minutes) == ((3, 3), (4, 4), 0.5)
    assert (full.bytes_down, full.bytes_up) == (1500, 1500)
    assert full.lists["coverage"] == pytest.approx(0.65)
    (users,) = table.new_users
    assert users.by_interactions["10"]["NDCG@10"].mean == 0.2
    assert [(row.name, row.metrics["NDCG@20"].mean) for row in table.new_items] == [
        ("ridge on genres, per user", 0.27),
        ("FedMem-Full", 0.3),
    ]
    assert [row.model_dump() for row in table.differences] == ABLATION["differences"]


def test_of_an_earlier_version_there_are_no_differences(tmp_path):
    old = {key: value for key, value in ABLATION.items() if key not in ("differences", "new_users", "new_items")}
    write_experiment(tmp_path, "ladder", "ablation.json", old)
    assert read_experiment(tmp_path, "ladder").ablation.differences == ()


def test_a_search_says_how_many_of_how_many_trials_are_through(tmp_path):
    write_experiment(tmp_path, "search", "study.json", STUDY)
    found = read_experiment(tmp_path, "search")
    assert (found.kind, found.state, found.made_on) == ("tuning", "unfinished", datetime.date(2026, 11, 23))
    assert found.note.startswith("4 of 6 trials are through.")
    assert [trial.state for trial in found.tuning.trials] == ["complete", "pruned", "failed", "complete"]
    assert found.tuning.best == 3
    assert found.tuning.importance == STUDY["importance"]
    write_experiment(tmp_path, "whole", "study.json", STUDY | {"planned": 4})
    assert (read_experiment(tmp_path, "whole").state, read_experiment(tmp_path, "whole").note) == ("finished", None)


def test_what_changed_last_comes_first_and_hidden_folders_are_none(tmp_path):
    for age, name in enumerate(("new", "old", ".hidden")):
        folder = write_experiment(tmp_path, name, "ablation.json", ABLATION)
        os.utime(folder / "ablation.json", (1e9 - age, 1e9 - age))
    (tmp_path / "experiments" / "a file").write_text("", encoding="utf-8")
    page = list_experiments(tmp_path)
    assert [one.name for one in page.experiments] == ["new", "old"]
    assert page.left_out == 0


def test_only_so_many_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "MOST", 2)
    for name in ("a", "b", "c"):
        write_experiment(tmp_path, name, "ablation.json", ABLATION)
    page = list_experiments(tmp_path)
    assert (len(page.experiments), page.left_out) == (2, 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "not a JSON object"),
        ("[" * 100_000, "RecursionError"),
        (json.dumps(ABLATION | {"date": "yesterday"}), "made_on"),
        (json.dumps(ABLATION | {"models": 3}), "TypeError"),
        (json.dumps(ABLATION | {"differences": [ABLATION["differences"][0] | {"p": float("nan")}]}), "finite number"),
        ('{"models": "\ud800"}', "ablation.json cannot be read"),
        (json.dumps({key: value for key, value in ABLATION.items() if key != "dataset"}), "KeyError: 'dataset'"),
    ],
)
def test_a_damaged_one_is_one_entry_with_one_sentence_and_the_others_stay(tmp_path, content, said):
    write_experiment(tmp_path, "whole", "study.json", STUDY)
    folder = write_experiment(tmp_path, "damaged", "ablation.json", {})
    (folder / "ablation.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    states = {one.name: one.state for one in list_experiments(tmp_path).experiments}
    assert states == {"whole": "unfinished", "damaged": "damaged"}
    found = read_experiment(tmp_path, "damaged")
    assert said in found.note
    assert "\n" not in found.note
    assert found.ablation is None


def test_one_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "LARGEST", 100)
    write_experiment(tmp_path, "large", "ablation.json", ABLATION)
    assert "more than the 100 that are read" in read_experiment(tmp_path, "large").note


def test_what_is_under_way_says_how_far_it_is(tmp_path):
    for run in ("transitions-1", "fedmem-1"):
        write_experiment(tmp_path, f"ladder/{run}", "run.json", {})
    write_experiment(tmp_path, "search", "study.db", {})
    ladder, search = read_experiment(tmp_path, "ladder"), read_experiment(tmp_path, "search")
    assert (ladder.kind, ladder.state, search.kind, search.state) == ("ablation", "unfinished", "tuning", "unfinished")
    assert "2 of its runs are begun" in ladder.note
    assert "No trial is through yet" in search.note


@pytest.mark.parametrize("name", ["nothing", "../experiments/ladder", "..", ".", "", "ladder/ablation.json"])
def test_a_name_is_looked_up_and_leads_nowhere_else(tmp_path, name):
    write_experiment(tmp_path, "ladder", "ablation.json", ABLATION)
    with pytest.raises(UnknownError, match="there is no experiment"):
        read_experiment(tmp_path, name)


def test_without_a_folder_there_is_none_and_one_that_is_a_file_is_an_error(tmp_path):
    assert list_experiments(tmp_path).experiments == ()
    (tmp_path / "experiments").write_text("", encoding="utf-8")
    with pytest.raises(CheckpointError, match="experiments: cannot be read"):
        list_experiments(tmp_path)
