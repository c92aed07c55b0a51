"""Whatever a user gives: exit code 2, one line that names what is wrong, no traceback, nothing left behind."""

import re
from pathlib import Path

import pytest

from fedmem.checkpoint import RunDirectory
from tests.tiny import files_of

HEADER = "user_id,item_id,timestamp\n"
ROWS = "".join(f"u{user},m{item},{item}\n" for user in range(4) for item in range(user, user + 7))

BAD_FILES = {
    "truncated row": ((HEADER + ROWS + "u9,m1\n").encode(), r"data\.csv:30: "),
    "surplus field": ((HEADER + "u9,m1,3,4\n" + ROWS).encode(), r"data\.csv:2: "),
    "wrong encoding": ((HEADER + ROWS).encode() + b"u\xff\xfe,m1,3\n", r"data\.csv:30: "),
    "missing column": (b"user_id,timestamp\nu1,3\n", r"data\.csv.*item_id"),
    "NaN": ((HEADER + ROWS + "u9,m1,nan\n").encode(), r"data\.csv:30: "),
    "no number": ((HEADER + "u9,m1,yesterday\n" + ROWS).encode(), r"data\.csv:2: "),
    "empty field": ((HEADER + ROWS + "u9,,3\n").encode(), r"data\.csv:30: "),
    "empty file": (b"", r"data\.csv"),
    "header alone": (HEADER.encode(), r"data\.csv"),
    "one user": ((HEADER + "".join(f"u1,m{n},{n}\n" for n in range(9))).encode(), r"data\.csv.*one user"),
    "one item": ((HEADER + "".join(f"u{n // 6},m1,{n}\n" for n in range(18))).encode(), r"data\.csv.*one item"),
    "short histories": ((HEADER + "u1,m1,1\nu2,m2,2\nu1,m3,3\n").encode(), r"min_sequence_length = 5"),
    "binary noise": (bytes(range(256)) * 8, r"data\.csv"),
}


@pytest.fixture
def refused(fedmem, tmp_path):
    """Train in a fresh place and expect one line of error and nothing else."""

    def run(*options: object, **expected: Path) -> str:
        out = expected.get("out", tmp_path / "run")
        before = files_of(out) if out.exists() else None
        outcome = fedmem("train", "--out", out, *options)
        assert outcome.code == 2, outcome.err
        assert outcome.out == ""
        assert "Traceback" not in outcome.err
        lines = [line for line in outcome.err.splitlines() if line.startswith("error:")]
        assert len(lines) == 1, outcome.err
        assert outcome.err.endswith(f"{lines[0]}\n")
        assert (files_of(out) if out.exists() else None) == before
        return lines[0]

    return run


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_data_is_named_by_file_and_line(refused, fedmem, tmp_path, name):
    content, expected = BAD_FILES[name]
    path = written(tmp_path, content)
    line = refused("--data", path)
    assert re.search(expected, line), line
    assert fedmem("train", "--data", path, "--out", tmp_path / "run").err == f"{line}\n"  # and nothing but that line


def test_data_that_is_not_there(refused, tmp_path):
    assert "nowhere" in refused("--data", tmp_path / "nowhere")
    assert "format" in refused("--data", tmp_path, "--format", "parchment")


def test_bad_rows_are_left_out_on_request(fedmem, config, quick, tmp_path, refused):
    path = written(tmp_path, (HEADER + "u9,m1\n" + ROWS + "u9,m1,nan\n").encode())
    command = ("--data", path, "--config", config, *quick)
    assert "data.csv:31" in refused(*command, "--skip-bad-rows", 1)
    outcome = fedmem("train", *command, "--skip-bad-rows", 2, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert "skipped 2 bad rows" in outcome.err
    assert RunDirectory(tmp_path / "run").read_snapshot().dataset.num_users == 4


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("federated.round=3", "federated.round"),
        ("federated.client_fraction=2", "federated.client_fraction = 2"),
        ("seed=[1", "seed=[1"),
        ("device=cuda:99", "device = 'cuda:99'"),
        ("device=abacus", "device = 'abacus'"),
    ],
)
def test_a_bad_setting_is_named(refused, data, quick, setting, named):
    assert named in refused("--data", data, *quick, "--set", setting)


def test_a_bad_configuration_file_is_named(refused, data, tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("federated: [1, 2\n", encoding="utf-8")
    assert "broken.yaml: not valid YAML" in refused("--data", data, "--config", path)
    path.write_text("federated:\n  rounds: 3\n", encoding="utf-8")
    assert "broken.yaml: unknown key 'federated.rounds'" in refused("--data", data, "--config", path)


def test_a_required_feature_that_cannot_be_had(refused, data, tmp_path):
    untitled = written(tmp_path, (HEADER + ROWS).encode())
    off = ("--set", "features.image=off")
    required = ("--set", "features.text=required")
    assert "features.text is required, but no item has a text" in refused("--data", untitled, *required, *off)
    missing = ("--set", f"model.text_model_name={tmp_path / 'no-model'}")
    assert "no-model" in refused("--data", data, *required, *off, *missing)
    images = ("--set", "features.text=off", "--set", "features.image=required")
    assert "features.image is required, but no item has an image" in refused("--data", data, *images)


def test_a_place_that_holds_a_run(refused, data, config, quick, trained):
    line = refused("--data", data, "--config", config, *quick, out=trained)
    assert "--resume" in line
    assert str(trained) in line


def test_a_place_that_is_a_file(refused, data, config, quick, tmp_path):
    path = tmp_path / "file"
    path.write_text("mine", encoding="utf-8")
    assert "is a file" in refused("--data", data, "--config", config, *quick, out=path)
    assert "cannot be written" in refused("--data", data, "--config", config, *quick, out=path / "below")


def test_resuming_on_other_data(refused, config, quick, trained, tmp_path):
    other = written(tmp_path, (HEADER + ROWS).encode())
    line = refused("--data", other, "--config", config, "--resume", *quick, out=trained)
    assert "other data" in line


def test_resuming_with_another_configuration(refused, data, config, quick, trained):
    line = refused("--data", data, "--config", config, "--resume", *quick, "--set", "seed=1", out=trained)
    assert "seed was 42" in line


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("evaluate", "{empty}"), "no run here"),
        (("recommend", "{empty}", "--user", "u01"), "no run here"),
        (("serve", "{empty}", "--port", "0"), "no run here"),
        (("serve", "{trained}", "--node", "{empty}", "--port", "0"), "holds users of its own"),
        (("recommend", "{trained}", "--user", "stranger"), "stranger"),
        (("recommend", "{trained}", "--all-users", "--out", "{empty}/no/recs.csv"), "recs.csv: cannot be written"),
        (("config", "show", "--set", "nothing=1"), "unknown key 'nothing'"),
    ],
)
def test_other_commands_say_what_is_wrong_in_one_line(fedmem, trained, tmp_path, command, named):
    outcome = fedmem(*(part.format(empty=tmp_path, trained=trained) for part in command))
    assert outcome.code == 2
    assert outcome.out == ""
    lines = [line for line in outcome.err.splitlines() if line.strip()]
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("error: ")
    assert named in lines[0]


@pytest.mark.parametrize(
    ("given", "named"), [(("--node", "users.csv"), "--node DATA needs DIR"), (("--store", "here"), "needs --node DATA")]
)
def test_serving_a_node_without_a_run_or_its_data_says_what_is_missing(fedmem, given, named):
    outcome = fedmem("serve", *given)
    assert outcome.code == 2
    assert named in outcome.err


def test_a_data_set_that_cannot_be_fetched_is_one_error_before_any_bar(fedmem):
    assert fedmem("data", "fetch", "foo").err.startswith("error: no data set is named 'foo'; these can be fetched:")
