"""``fedmem tune``: what it tries, what it prints, what it refuses, and that it goes on where it was killed."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import yaml

from fedmem.checkpoint import RunDirectory
from fedmem.config_reader import load_config
from fedmem.serving import read_experiment
from fedmem.tuning.search_space import SearchSpace
from fedmem.tuning.study import TuningStudy
from tests.cli.test_interrupt import process, wait_for
from tests.waiting import PATIENCE

SPACE = {
    "federated.server_learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "federated.client_fraction": [0.25, 0.5],
    "model.sasrec_dropout": [0.0, 0.2, 0.4],
}
TRIALS = 6


@pytest.fixture(scope="module")
def command(data, config, quick, tmp_path_factory) -> tuple[object, ...]:
    space = tmp_path_factory.mktemp("space") / "space.yaml"
    space.write_text(yaml.safe_dump(SPACE), encoding="utf-8")
    return ("tune", "--data", data, "--config", config, *quick, "--space", space)


@pytest.fixture(scope="module")
def study(fedmem, command, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuning") / "out"
    outcome = fedmem(*command, "--out", out, "--trials", TRIALS)
    assert outcome.code == 0, outcome.err
    return out, outcome


def record_of(out: Path) -> dict:
    """The study without what the clock says."""
    record = json.loads((out / "study.json").read_text(encoding="utf-8"))
    record.pop("seconds")
    for trial in record["trials"]:
        assert trial.pop("started")
    return record


def test_the_first_trial_is_the_configuration_and_all_have_as_many_updates(study, config):
    record = record_of(study[0])
    base = load_config(config)
    assert record["trials"][0]["params"] == {name: base.settings()[name] for name in SPACE}
    assert len(record["trials"]) == TRIALS
    assert record["configurations"] == len({json.dumps(trial["params"]) for trial in record["trials"]})
    through = [trial for trial in record["trials"] if trial["state"] == "complete"]
    assert {len(trial["validations"]) for trial in through} == {3}  # of 6 rounds of a half, of 12 of a quarter


def test_the_best_is_that_of_the_best_validation_and_is_never_tested(study):
    out, _ = study
    record = record_of(out)
    best = record["trials"][record["best"]]
    assert best["value"] == max(trial["value"] for trial in record["trials"] if trial["state"] == "complete")
    (left,) = out.glob("trial-*")
    assert left.name == f"trial-{best['number']:04d}"
    run = RunDirectory(left).read_record()
    assert (run.test, run.finished) == (None, False)


def test_what_is_printed_trains(study, fedmem, data, tmp_path):
    out, outcome = study
    assert outcome.out == (out / "best.yaml").read_text(encoding="utf-8")
    record = record_of(out)
    assert f"the best of {record['configurations']} configurations tried on films" in outcome.out
    (left,) = out.glob("trial-*")
    printed = load_config(out / "best.yaml").settings()
    for name, value in RunDirectory(left).read_config().settings().items():
        assert printed[name] == value


def test_the_dashboard_shows_what_is_put_under_a_name(study, command, fedmem, tmp_path, monkeypatch):
    monkeypatch.setenv("FEDMEM_DATA_DIR", str(tmp_path))
    shutil.copytree(study[0], tmp_path / "experiments" / "search")
    assert fedmem(*command, "--name", "search", "--trials", TRIALS, "--minutes", 0).code == 0
    found, record = read_experiment(tmp_path, "search"), record_of(study[0])
    assert (found.state, found.kind) == ("finished", "tuning")
    assert [trial.value for trial in found.tuning.trials] == [trial["value"] for trial in record["trials"]]
    assert found.tuning.baselines.keys() == {"popularity", "item-item counts", "EASE + recency"}
    assert fedmem(*command, "--name", "search", "--trials", TRIALS + 1, "--minutes", 0).code == 0
    later = read_experiment(tmp_path, "search")
    assert (later.state, later.note.partition(".")[0]) == ("unfinished", f"{TRIALS} of {TRIALS + 1} trials are through")


@pytest.mark.parametrize("name", ["a/b", ".hidden", "", "two\nlines"])
def test_a_name_that_no_folder_can_have_is_refused(command, fedmem, name):
    outcome = fedmem(*command, "--name", name)
    assert (outcome.code, "expected a folder's name" in outcome.err) == (2, True)


def test_the_setting_that_makes_the_difference_weighs_most(study, config, tmp_path):
    values = {"training.loss": ["bpr", "full_softmax"], "model.sasrec_dropout": [0.0, 0.1, 0.2]}
    space = SearchSpace.of(values, load_config(config), "the test")
    searched = TuningStudy(tmp_path, space, RunDirectory(next(study[0].glob("trial-*"))).read_snapshot().dataset)
    for trial in iter(searched.next_trial, None):
        assert (len(searched.ended) >= 5) == bool(searched.importance())
        trial.report(0.1 * (trial.params["training.loss"] == "bpr") + 0.01 * trial.params["model.sasrec_dropout"], 1)
        searched.end(trial)
        if len(searched.ended) == 12:
            break
    weights = searched.importance()
    assert next(iter(weights)) == "training.loss"
    assert sum(weights.values()) == pytest.approx(1)


def test_the_same_command_again_tries_nothing(study, command, fedmem):
    out, outcome = study
    again = fedmem(*command, "--out", out, "--trials", TRIALS)
    assert (again.code, again.out) == (0, outcome.out)
    assert "trial 0 (of" not in again.err


def test_a_killed_search_tries_what_an_uninterrupted_one_does(study, command, fedmem, tmp_path):
    out = tmp_path / "out"
    with process(*command, "--out", out, "--trials", TRIALS) as running:
        wait_for(out / "trial-0002" / "run.json", running)
        running.send_signal(signal.SIGKILL)
        running.communicate(timeout=PATIENCE)
    stopped = fedmem(*command, "--out", out, "--trials", TRIALS, "--minutes", 0)
    assert (stopped.code, "stopped; the same command continues" in stopped.err) == (0, True)
    outcome = fedmem(*command, "--out", out, "--trials", TRIALS, "--json")
    assert outcome.code == 0, outcome.err
    found, expected = record_of(out), record_of(study[0])
    assert found["trials"] == expected["trials"]
    assert found == expected
    assert json.loads(outcome.out)["best"] == record_of(out)["best"]


def test_a_space_that_is_exhausted_ends_the_search(command, fedmem, tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text("model.sasrec_dropout: [0.1, 0.2]", encoding="utf-8")
    outcome = fedmem(*command[:-1], space, "--out", tmp_path / "out", "--trials", 9)
    assert outcome.code == 0, outcome.err
    assert "all 2 configurations of the space were tried" in outcome.err


def test_values_that_do_not_go_together_are_a_failed_trial(command, fedmem, tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text("model.sasrec_hidden_dim: [8, 12]\nmodel.sasrec_num_heads: [2, 4, 8]", encoding="utf-8")
    outcome = fedmem(*command[:-1], space, "--out", tmp_path / "out", "--trials", 9, "--set", "federated.num_rounds=2")
    assert outcome.code == 0, outcome.err
    failed = [trial for trial in record_of(tmp_path / "out")["trials"] if trial["state"] == "failed"]
    assert {(t["params"]["model.sasrec_hidden_dim"], t["params"]["model.sasrec_num_heads"]) for t in failed} == {
        (12, 8)
    }
    assert "must divide" in failed[0]["reason"]


def test_another_search_in_the_same_place_is_refused(study, command, fedmem):
    outcome = fedmem(*command, "--out", study[0], "--set", "training.loss=bpr")
    assert outcome.code == 2
    assert "the study's training.loss was 'full_softmax' and is now 'bpr'" in outcome.err


@pytest.mark.parametrize(
    ("space", "named"),
    [
        ("model.sasrec_dropout: []", "model.sasrec_dropout = []: expected a list of values, or a range"),
        ("model.sasrec_dropout: {low: 1, high: 0}", "expected a list of values, or a range"),
        ("model.sasrec_dropout: [0.1, 2]", "model.sasrec_dropout = 2"),
        ("model.dropout: [0.1]", "unknown key 'model.dropout'"),
        ("seed: [1, 2]", "seed cannot be searched"),
        ("evaluation.eval_every: [1, 2]", "evaluation.eval_every cannot be searched"),
        ("nothing", "expected a mapping of settings to values"),
    ],
)
def test_a_bad_space_is_one_line_and_nothing_is_written(command, fedmem, tmp_path, space, named):
    file = tmp_path / "space.yaml"
    file.write_text(space, encoding="utf-8")
    outcome = fedmem(*command[:-1], file, "--out", tmp_path / "out")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert str(file) in outcome.err
    assert named in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_space_that_is_not_there_is_named(command, fedmem, tmp_path):
    outcome = fedmem(*command[:-1], "nowhere", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "--space nowhere: cannot be read" in outcome.err
    assert "original" in outcome.err


def test_a_study_that_is_no_database_is_named(command, fedmem, tmp_path):
    (tmp_path / "study.db").write_text("no database at all, but a text that is long enough", encoding="utf-8")
    outcome = fedmem(*command, "--out", tmp_path)
    assert outcome.code == 2
    assert "study.db: cannot be used as a study's file" in outcome.err
