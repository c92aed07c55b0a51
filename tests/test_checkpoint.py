"""A run directory: what is written is whole or not there, what is damaged is one clear error."""

import dataclasses
import errno
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fedmem.checkpoint import RunDirectory, RunRecord
from fedmem.checkpoint.atomic_files import read_arrays, write_arrays, write_bytes
from fedmem.errors import CheckpointError, FedMemError
from fedmem.experiment import TrainingRun
from fedmem.federated.server_optimizers import OptimizerState
from fedmem.federated.state import RoundReport, ServerState
from fedmem.serving import Recommender
from tests.tiny import files_of, memories_of, tiny_config, tiny_dataset, tiny_snapshot, trained

CHECKPOINT_FILES = ("server.safetensors", "memories-0000.safetensors", "server.json")
RUN_FILES = ("manifest.json", "dataset.json", "dataset.safetensors", "features.safetensors", "run.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("finished") / "run"
    trained(path, tiny_snapshot(tiny_config(federated={"num_rounds": 4}, save_interval=1)))
    return path


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy that a test may spoil."""
    path = tmp_path / "run"
    for name, content in files_of(finished).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    (path / "run.json").write_bytes((finished / "run.json").read_bytes())
    return path


def round_folder(path: Path) -> Path:
    return path / "rounds" / f"{RunDirectory(path).read_record().best:06d}"


def read_everything(path: Path) -> None:
    directory = RunDirectory(path)
    directory.read_snapshot()
    record = directory.read_record()
    for number in {record.last, record.best}:
        directory.checkpoints.read(number)
    directory.read_metrics()


# What is written can be read


def test_a_snapshot_comes_back_as_it_was(tmp_path):
    dataset = tiny_dataset().with_cold_users(0.2, np.random.default_rng(0))
    described = dataclasses.replace(
        dataset.items[0], title="Ein schöner Film", genres=("Drama", "Noir"), year=1962, image_path=Path("a/b.png")
    )
    snapshot = tiny_snapshot(dataset=dataclasses.replace(dataset, items=(described, *dataset.items[1:])))
    directory = RunDirectory(tmp_path / "run")
    directory.write_snapshot(dataclasses.replace(snapshot, provenance={"text": "drawn"}))
    found = directory.read_snapshot()
    assert (found.config, found.provenance) == (snapshot.config, {"text": "drawn"})
    assert found.dataset.items == snapshot.dataset.items
    assert found.dataset.vocabulary.users == dataset.vocabulary.users
    assert (found.dataset.digest, found.dataset.name) == (dataset.digest, "tiny")
    for name in ("offsets", "sequence", "cold_users"):
        np.testing.assert_array_equal(getattr(found.dataset, name), getattr(dataset, name))
    before, after = snapshot.features.to_arrays(), found.features.to_arrays()
    assert before.keys() == after.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name])
    np.testing.assert_array_equal(found.user_features.preference, snapshot.user_features.preference)


def test_runs_on_the_same_data_share_them_in_memory(run, finished, tmp_path):
    snapshots = [RunDirectory(path).read_snapshot() for path in (run, finished)]
    assert snapshots[0].dataset is snapshots[1].dataset
    other = json.loads((run / "dataset.json").read_text(encoding="utf-8"))
    other["items"][0]["title"] = "Another"
    (run / "dataset.json").write_text(json.dumps(other), encoding="utf-8")
    assert RunDirectory(run).read_snapshot().dataset.items[0].title == "Another"
    assert RunDirectory(finished).read_snapshot().dataset is snapshots[1].dataset


ARRAYS = {
    "floats": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    "halves": np.arange(3, dtype=np.float16) / 3,
    "doubles": np.array(np.pi),
    "numbers": np.array([[-1, 2**40]]),
    "small": np.array([-3, 3], np.int8),
    "bytes": np.array([0, 255], np.uint8),
    "truths": np.array([True, False, True]),
    "nothing": np.zeros((0, 5), np.float32),
}


def test_arrays_are_read_as_the_library_reads_them(tmp_path):
    path = tmp_path / "some.safetensors"
    save_file(ARRAYS, path)
    found, by_library = read_arrays(path), load_file(path)
    assert found.keys() == by_library.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        for read in (found[name], by_library[name]):
            assert (read.dtype, read.shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(read, array)
        assert found[name].flags.writeable


@pytest.mark.parametrize("features", [True, False])
def test_a_checkpoint_comes_back_bit_for_bit(tmp_path, features):
    run = trained(tmp_path / "run", tiny_snapshot(text=features, image=features))
    state = run.server.state
    memories = memories_of(run.population, state.round)
    assert memories
    found = run.directory.checkpoints.read(state.round)
    for name in ("round", "best_round", "best_metric", "stale"):
        assert getattr(found.server, name) == getattr(state, name)
    for group in ("parameters", "averaged"):
        assert getattr(found.server, group).keys() == getattr(state, group).keys()
        assert all(np.array_equal(getattr(found.server, group)[n], v) for n, v in getattr(state, group).items())
    assert found.server.optimizer.step == state.optimizer.step
    assert all(np.array_equal(found.server.optimizer.second[n], v) for n, v in state.optimizer.second.items())
    for block in state.global_memory.blocks:
        np.testing.assert_array_equal(found.server.global_memory.sums[block], state.global_memory.sums[block])
        np.testing.assert_array_equal(found.server.global_memory.counts[block], state.global_memory.counts[block])
    assert found.memories.keys() == memories.keys()
    for user, entries in memories.items():
        for name, values in vars(entries).items():
            np.testing.assert_array_equal(getattr(found.memories[user], name), values)


def test_no_memory_and_no_prototypes_come_back_as_none(tmp_path):
    run = trained(tmp_path / "run", tiny_snapshot(tiny_config(ablation={"disable_memory": True})))
    found = run.directory.checkpoints.read(run.record.best)
    assert found.server.global_memory is None
    assert found.memories == {}


# Retention


def test_the_best_and_the_last_checkpoint_are_kept(tmp_path):
    directory = RunDirectory(tmp_path)
    start = ServerState(0, {"w": np.ones(2)}, {"w": np.ones(2)}, OptimizerState({}, {}))
    for number, best in ((1, 1), (2, 2), (3, 2), (4, 2)):
        state = dataclasses.replace(start, round=number, best_round=best)
        directory.write_checkpoint(state, [], [RoundReport(number, {})], RunRecord(number, best))
        kept = sorted(int(folder.name) for folder in (tmp_path / "rounds").iterdir())
        assert kept == sorted({number, best})
    assert [line["round"] for line in directory.read_metrics()] == [1, 2, 3, 4]


def test_memories_on_a_base_are_those_of_the_base_with_what_changed(run):
    directory, memories = RunDirectory(run), RunDirectory(run).checkpoints.read(RunDirectory(run).read_record().last)
    base, before = memories.server.round, memories.memories
    changed, kept, *_ = before
    replaced = {changed: before[kept]}
    for number, base_of in ((base + 1, base), (base + 2, base + 1)):
        state = dataclasses.replace(memories.server, round=number)
        directory.checkpoints.write(state, [replaced] if number == base + 1 else [], base_of)
    found = directory.checkpoints.read(base + 2).memories
    assert found.keys() == before.keys()
    assert np.array_equal(found[changed].items, before[kept].items)
    assert np.array_equal(found[kept].items, before[kept].items)


def test_what_a_kept_round_stands_on_is_kept(run):
    directory = RunDirectory(run)
    server = directory.checkpoints.read(directory.read_record().last).server
    for number, base in ((100, None), (101, 100), (102, 101), (103, None), (104, 103)):
        directory.checkpoints.write(dataclasses.replace(server, round=number), [], base)
    assert directory.checkpoints.needed([102, 104]) == {100, 101, 102, 103, 104}
    directory.checkpoints.keep([104])
    assert directory.checkpoints.rounds() == [103, 104]


def test_a_round_is_never_doubled_in_the_metrics(tmp_path):
    """A crash may leave lines behind that run.json does not know: they are replaced, or dropped beyond the last."""
    directory = RunDirectory(tmp_path)
    start = ServerState(0, {"w": np.ones(2)}, {"w": np.ones(2)}, OptimizerState({}, {}))
    stale = [{"round": number, "metrics": {"loss": -1.0}} for number in (1, 2, 3, 4)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in stale), encoding="utf-8")
    reports = [RoundReport(2, {"loss": 2.0}), RoundReport(3, {"loss": 3.0})]
    state = dataclasses.replace(start, round=3)
    directory.write_checkpoint(state, [], reports, RunRecord(3, 3))
    lines = [(line["round"], line["metrics"]["loss"]) for line in directory.read_metrics()]
    assert lines == [(1, -1.0), (2, 2.0), (3, 3.0)]


# A disk that fails


class FailingDisk:
    """``os.fsync`` that fails from the n-th call on, as a full disk does."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self, descriptor: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def until_full(tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch) -> Path | None:
    """Train with a disk that fills after so many writes; the run's directory, or None if it was large enough."""
    path = tmp_path / f"run{calls}"
    snapshot = tiny_snapshot(tiny_config(federated={"num_rounds": 4}, save_interval=1))
    run = TrainingRun.start(path, snapshot)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", FailingDisk(calls))
        try:
            list(run.rounds())
        except CheckpointError as error:
            return path if "No space left" in str(error) else None
    return None


def full_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for calls in range(0, 80, 5):
        path = until_full(tmp_path, calls, monkeypatch)
        if path is None:
            return
        yield path
    raise AssertionError("no disk was large enough")


def test_a_full_disk_leaves_the_earlier_checkpoint_and_a_run_that_resumes(tmp_path, monkeypatch):
    config = tiny_config(federated={"num_rounds": 4}, save_interval=1)
    whole = trained(tmp_path / "whole", tiny_snapshot(config))
    expected = files_of(whole.directory.path)
    paths = list(full_disks(tmp_path, monkeypatch))
    assert len(paths) > 3
    for path in paths:
        directory = RunDirectory(path)
        if (path / "run.json").exists():
            read_everything(path)
            assert Recommender.load(path).round == directory.read_record().best
        resumed = TrainingRun.resume(path, config)
        for _ in resumed.rounds():
            pass
        resumed.finish()
        assert files_of(path) == expected


def test_a_failed_write_leaves_the_old_content_and_nothing_beside_it(tmp_path, monkeypatch):
    directory = RunDirectory(tmp_path)
    directory.write_record(RunRecord(1, 1))
    monkeypatch.setattr(os, "fsync", FailingDisk(0))
    with pytest.raises(CheckpointError, match=r"run\.json: cannot be written \(No space left"):
        directory.write_record(RunRecord(2, 2))
    assert directory.read_record() == RunRecord(1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_threads_that_write_one_file_do_not_disturb_each_other(tmp_path):
    path, contents = tmp_path / "file", [bytes([number]) * 10_000 for number in range(8)]
    with ThreadPoolExecutor(len(contents)) as pool:
        list(pool.map(lambda content: write_bytes(path, content), contents * 5))
    assert path.read_bytes() in contents
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_place_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot be written"):
        RunDirectory(tmp_path / "file" / "run").write_snapshot(tiny_snapshot())


def test_what_a_killed_process_left_is_no_hindrance(finished, run):
    """A folder half-written by a process of the same number, as a container's process 1 has."""
    record = RunDirectory(run).read_record()
    unfinished = run / "rounds" / f".000005.{os.getpid()}"
    unfinished.mkdir()
    (unfinished / "server.safetensors").write_bytes(b"half")
    read_everything(run)
    found = RunDirectory(run).checkpoints.read(record.last)
    state = dataclasses.replace(found.server, round=5)
    RunDirectory(run).write_checkpoint(state, [found.memories], [], RunRecord(5, record.best))
    assert not unfinished.exists()
    assert RunDirectory(run).checkpoints.read(5).server.round == 5


# Damage


def damaged(path: Path) -> str:
    with pytest.raises(FedMemError) as caught:
        read_everything(path)
    assert type(caught.value) is CheckpointError
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("name", RUN_FILES + CHECKPOINT_FILES)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99], ids=["empty", "half", "almost whole"])
def test_a_truncated_file_is_one_error_that_names_it(run, name, kept):
    path = round_folder(run) / name if name in CHECKPOINT_FILES else run / name
    content = path.read_bytes()
    path.write_bytes(content[: max(int(kept * len(content)) - 2, 0)])
    assert name in damaged(run)


@pytest.mark.parametrize("name", RUN_FILES + CHECKPOINT_FILES)
def test_binary_noise_is_one_error_that_names_the_file(run, name):
    path = round_folder(run) / name if name in CHECKPOINT_FILES else run / name
    path.write_bytes(np.random.default_rng(0).bytes(300))
    assert name in damaged(run)


@pytest.mark.parametrize("name", [*RUN_FILES[1:-1], *CHECKPOINT_FILES])
def test_a_missing_file_is_one_error_that_names_it(run, name):
    (round_folder(run) / name if name in CHECKPOINT_FILES else run / name).unlink()
    assert name in damaged(run)


@pytest.mark.parametrize("name", ["manifest.json", "dataset.json", "run.json", "server.json"])
@pytest.mark.parametrize("content", ["{}", "[]", "3", '{"surplus": 1}'])
def test_json_of_another_shape_is_one_error(run, name, content):
    path = round_folder(run) / name if name in CHECKPOINT_FILES else run / name
    path.write_text(content, encoding="utf-8")
    damaged(run)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "\ud800"}, "name"),
        ({"name": ["a"]}, "name"),
        ({"digest": 7}, "digest"),
        ({"min_sequence_length": float("nan")}, "min_sequence_length"),
        ({"max_history": "x"}, "max_history"),
        ({"max_history": -1}, "max_history"),
        ({"repeats": "sometimes"}, "repeats"),
        ({"users": [1, 2]}, r"users\.0"),
        ({"items": {"item_id": 1}}, r"items\.0\.item_id"),
        ({"items": {"title": 5}}, r"items\.0\.title"),
        ({"items": {"year": float("nan")}}, r"items\.0\.year"),
        ({"items": {"genres": [None]}}, r"items\.0\.genres\.0"),
        ({"items": {"surplus": 1}}, r"items\.0\.surplus"),
    ],
)
def test_a_data_set_of_other_types_is_one_error_that_names_the_place(run, changes, said):
    """What was let through showed where it was trained on, as an unexpected error, or when a user was to be erased."""
    path = run / "dataset.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(changes.get("items"), dict):
        changes = {"items": [item | changes["items"] for item in record["items"]]}
    path.write_text(json.dumps(record | changes), encoding="utf-8")
    assert re.search(rf"cannot be read \(ValueError: {said}: ", damaged(run))


@pytest.mark.parametrize("value", [float("nan"), -2, 10**30, "7", None])
def test_a_server_of_other_types_is_one_error_for_whoever_resumes(run, value):
    """What was let through ended a resumed job as an unexpected error."""
    number = RunDirectory(run).read_record().last
    path = RunDirectory(run).checkpoints.folder_of(number) / "server.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    for name in ("round", "best_round", "stale", "step", "memory_files"):
        path.write_text(json.dumps(whole | {name: value}), encoding="utf-8")
        with pytest.raises(CheckpointError, match=rf"cannot be read \(ValueError: {name}: .*The run is damaged"):
            TrainingRun.resume(run, RunDirectory(run).read_config())


@pytest.mark.parametrize("name", ["features.safetensors", "dataset.safetensors", "memories-0000.safetensors"])
def test_arrays_of_another_file_are_one_error(run, name):
    path = round_folder(run) / name if name in CHECKPOINT_FILES else run / name
    path.write_bytes((round_folder(run) / "server.safetensors").read_bytes())
    damaged(run)


def test_a_damaged_metrics_file_is_one_error(run):
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"round": 5, "met')
    assert "metrics.jsonl" in damaged(run)


def test_another_format_is_refused(run):
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    (run / "manifest.json").write_text(json.dumps(manifest | {"format": 99}), encoding="utf-8")
    assert "format 99 is not the format 2" in damaged(run)


def test_a_directory_without_a_run_says_how_to_train_one(tmp_path):
    assert "Train one" in damaged(tmp_path)


def test_a_run_without_a_checkpoint_says_so(tmp_path):
    RunDirectory(tmp_path).write_snapshot(tiny_snapshot())
    assert "no checkpoint yet" in damaged(tmp_path)


def test_a_run_is_not_overwritten(run):
    before = files_of(run)
    with pytest.raises(CheckpointError, match="--resume"):
        TrainingRun.start(run, tiny_snapshot())
    assert files_of(run) == before


def test_a_file_is_no_place_for_a_run(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(CheckpointError, match="is a file"):
        TrainingRun.start(path, tiny_snapshot())
    assert path.read_text(encoding="utf-8") == "mine"


def changed(path: Path, **changes) -> None:
    """Replace arrays of a file by what functions make of them."""
    arrays = read_arrays(path)
    write_arrays(path, {name: changes.get(name, lambda values: values)(values) for name, values in arrays.items()})


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("dataset", {"sequence": lambda items: items - 1}, "item indices are 1..I"),
        ("dataset", {"offsets": lambda offsets: np.roll(offsets, -1)}, "the last offset is"),
        ("dataset", {"offsets": lambda offsets: np.append(offsets[-2::-1], offsets[-1])}, "do not divide"),
        ("dataset", {"cold_users": lambda users: np.array([99])}, "cold users are named"),
        ("features", {"preference_mask": lambda mask: mask[1:]}, "the preference texts are not those of"),
        ("memories", {"items": lambda items: items + 1000}, "memories hold items that are not among the"),
        ("memories", {"items": lambda items: items * 0}, "memories hold items that are not among the"),
        ("memories", {"users": lambda users: users + 1000}, "memories are of users that are not among the"),
        ("memories", {"users": lambda users: users[::-1]}, "holds an item that the user never took"),
        ("memories", {"lengths": lambda lengths: lengths + 1}, "lengths are not those of their entries"),
        ("memories", {"lengths": lambda lengths: lengths * 0 - 1}, "lengths are not those of their entries"),
        ("memories", {"surprise": lambda surprise: surprise[1:]}, "lengths are not those of their entries"),
    ],
)
def test_content_that_does_not_fit_is_refused(run, file, changes, said):
    files = round_folder(run).glob("memories-*") if file == "memories" else [run / f"{file}.safetensors"]
    for path in files:
        changed(path, **changes)
    with pytest.raises(CheckpointError, match=rf"{said}.*The run is damaged; train it anew\."):
        Recommender.load(run)


@pytest.mark.parametrize(
    ("name", "bits", "said"),
    [
        ("server.safetensors", {"<f4": "<i4"}, "the parameters .* are of the type int32"),
        ("transitions.safetensors", {"<i4": "<f4", "<i8": "<f8"}, "what is no whole number"),
        ("features.safetensors", {"<f4": "<i4"}, "features hold what is no number"),
    ],
)
def test_numbers_of_another_type_are_refused(run, name, bits, said):
    """Of the same shapes, these bytes would give any scores."""
    path = run / name if name in RUN_FILES else round_folder(run) / name
    arrays = read_arrays(path)
    write_arrays(path, {key: values.view(bits.get(values.dtype.str, values.dtype)) for key, values in arrays.items()})
    with pytest.raises(CheckpointError, match=said):
        Recommender.load(run)


@pytest.mark.parametrize("base", [4, 5, -1, "3", 2.5])
def test_checkpoints_do_not_build_on_themselves_or_on_later_ones(run, base, followed_for_a_while):
    path = round_folder(run) / "server.json"
    number = RunDirectory(run).read_record().best
    wrong = number if base == 4 else base
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"memory_base": wrong}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot build on"):
        RunDirectory(run).checkpoints.read(number)
