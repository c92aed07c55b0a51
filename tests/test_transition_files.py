"""The transition memory in checkpoints: whole ones and chains, resumes, and users who are taken out exactly."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fedmem.checkpoint import RunDirectory, check_fits
from fedmem.checkpoint.erasure import erase_users
from fedmem.errors import CheckpointError
from fedmem.experiment import TrainingRun
from fedmem.memory.transitions import TransitionCounts
from tests.tiny import tiny_config, tiny_snapshot

ROUNDS = 5


def same(a: TransitionCounts, b: TransitionCounts) -> bool:
    return not (a.pairs != b.pairs).nnz and np.array_equal(a.taken, b.taken)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    """Rounds of which each builds on the one before, but for the first and the third."""
    config = tiny_config(federated={"num_rounds": ROUNDS, "client_fraction": 0.3})
    snapshot = tiny_snapshot(config)
    run = TrainingRun.start(tmp_path_factory.mktemp("chain") / "run", snapshot)
    for number in range(1, ROUNDS + 1):
        run.server.run_round()
        state, clients = run.server.state, run.population
        base = None if number in (1, 3) else number - 1
        memories = clients.memories(number) if base is None else clients.changed_memories(number)
        run.directory.checkpoints.write(state, memories, base, clients.handed_on(number))
    return run


def expected(run: TrainingRun, users: Collection[int]) -> TransitionCounts:
    """What these users have to hand on, at once."""
    dataset, window = run.snapshot.dataset, run.snapshot.config.transitions.window
    return TransitionCounts.of([dataset.training_history(user) for user in users], dataset.num_items, window)


def test_each_client_hands_on_its_history_once_however_often_it_takes_part(run: TrainingRun) -> None:
    handed_on = run.population.handed_on(ROUNDS)
    lengths = run.snapshot.dataset.training_lengths
    gave = np.flatnonzero(handed_on)
    assert 0 < len(gave) < run.snapshot.dataset.num_users
    assert handed_on[gave].tolist() == lengths[gave].tolist()
    assert same(run.server.state.transitions, expected(run, gave))


@pytest.mark.parametrize("number", range(1, ROUNDS + 1))
def test_a_checkpoint_holds_what_was_handed_on_by_then(run: TrainingRun, number: int) -> None:
    found = run.directory.checkpoints.read(number)
    gave = np.flatnonzero(found.handed_on)
    assert found.handed_on.tolist() == run.directory.checkpoints.read_handed_on(number).tolist()
    assert same(found.server.transitions, expected(run, gave))
    assert found.server.strength == (run.server.state.strength if number == ROUNDS else found.server.strength)


def test_who_is_erased_is_taken_out_exactly_of_every_checkpoint(run: TrainingRun, tmp_path: Path) -> None:
    copy = copy_of(run, tmp_path / "copy")
    gave = np.flatnonzero(run.population.handed_on(ROUNDS)).tolist()
    leaving = gave[::2]
    for _ in range(2):  # the second time there is nothing left to take out
        assert erase_users(copy.path, [str(user) for user in leaving]) == []
        for number in copy.checkpoints.rounds():
            before = run.directory.checkpoints.read_handed_on(number)
            left = [user for user in np.flatnonzero(before).tolist() if user not in leaving]
            found = copy.checkpoints.read(number)
            assert np.flatnonzero(found.handed_on).tolist() == left
            assert same(found.server.transitions, expected(run, left))


def copy_of(run: TrainingRun, path: Path) -> RunDirectory:
    copy = RunDirectory(path)
    path.mkdir()
    copy.copy_from(run.directory, run.snapshot.config, range(1, ROUNDS + 1))
    return copy


def test_a_damaged_file_is_removed_and_holds_no_other_up(run: TrainingRun, tmp_path: Path) -> None:
    copy = copy_of(run, tmp_path / "copy")
    gave = np.flatnonzero(run.population.handed_on(ROUNDS)).tolist()
    damaged = copy.checkpoints.folder_of(2) / "transitions.safetensors"
    damaged.write_bytes(b"no arrays")
    (copy.checkpoints.folder_of(5) / "server.json").write_text("no JSON")
    removed = erase_users(copy.path, [str(user) for user in gave])
    assert set(removed) == {damaged, copy.checkpoints.folder_of(5) / "transitions.safetensors"}
    assert copy.checkpoints.read(2).server.transitions is None, "a part is not the memory"
    for number in (1, 3, 4):
        found = copy.checkpoints.read(number)
        assert not found.server.transitions
        assert not found.handed_on.any()
        assert not any(len(entries) for entries in found.memories.values())


def test_a_snapshot_that_cannot_be_read_takes_the_transitions_with_it(run: TrainingRun, tmp_path: Path) -> None:
    copy = copy_of(run, tmp_path / "copy")
    (copy.path / "dataset.json").write_text("no JSON")
    erase_users(copy.path, ["1"])
    assert not list(copy.path.rglob("transitions*"))


@pytest.mark.parametrize("wrong", ["target", "row", "items", "users", "more", "negative"])
def test_transitions_that_fit_no_items_or_users_are_refused_before_they_serve(run, tmp_path: Path, wrong: str) -> None:
    copy = copy_of(run, tmp_path / "copy")
    path = copy.checkpoints.folder_of(1) / "transitions.safetensors"
    arrays = load_file(path)
    if wrong == "target":
        arrays["targets"][-1] = len(arrays["taken"])
    elif wrong == "row":
        arrays["row_ends"][1] = arrays["row_ends"][-1] + 1
    elif wrong == "items":
        arrays["taken"], arrays["row_ends"] = (
            np.append(arrays["taken"], 0),
            np.append(arrays["row_ends"], arrays["row_ends"][-1]),
        )
    elif wrong == "users":
        arrays["handed_on"] = arrays["handed_on"][:-1]
    elif wrong == "more":
        arrays["handed_on"][0] = 1_000
    else:
        arrays["counts"][0] = -1
    save_file(arrays, path)
    with pytest.raises(CheckpointError):
        check_fits(copy.read_snapshot(), copy.checkpoints.read(1), "the run")


def test_a_run_without_a_transition_memory_has_no_file_of_it(tmp_path: Path) -> None:
    config = tiny_config(federated={"num_rounds": 1}, ablation={"disable_transitions": True})
    run = TrainingRun.start(tmp_path / "run", tiny_snapshot(config))
    for _ in run.rounds():
        pass
    assert run.population.handed_on(1) is None
    assert not list(tmp_path.rglob("transitions*"))
    assert run.directory.checkpoints.read_server(1).transitions is None
