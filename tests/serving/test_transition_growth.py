"""How rows grew: against the counts of every round's own checkpoint, and without what would show a single client."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fedmem.checkpoint import RunDirectory
from fedmem.checkpoint.checkpoints import Checkpoints
from fedmem.checkpoint.first_rounds import FILE, note_first_rounds, read_first_rounds
from fedmem.errors import ConflictError, UnknownError, UnknownItemError
from fedmem.experiment import TrainingRun
from fedmem.memory.transitions import UNIT, TransitionCounts
from fedmem.serving import TransitionGrowth, erase_users
from tests.tiny import ITEMS, tiny_config, tiny_snapshot, trained

ROUNDS = 6
SLOWLY = {"client_fraction": 0.3, "num_rounds": ROUNDS}


@pytest.fixture(scope="module")
def counted(tmp_path_factory) -> tuple[TrainingRun, dict[int, TransitionCounts]]:
    """A run of which every round has a checkpoint, and the transition memory after each."""
    found: dict[int, TransitionCounts] = {}
    write = Checkpoints.write

    def noted(self, server, *others, **named):
        found[server.round] = server.transitions
        return write(self, server, *others, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "write", noted)
        config = tiny_config(federated=SLOWLY, save_interval=1, evaluation={"eval_every": 1})
        run = trained(tmp_path_factory.mktemp("growth") / "run", tiny_snapshot(config))
    return run, found


def test_every_round_shows_what_its_own_checkpoint_held(counted) -> None:
    run, counts = counted
    assert sorted(counts) == [*range(1, ROUNDS + 1)]
    growth, shown = TransitionGrowth.read(run.directory.path), 0
    for item in range(1, ITEMS + 1):
        found = growth.of(1, str(item), ROUNDS, followers=ITEMS)
        for place, (number, taken) in enumerate(zip(found.rounds, found.taken, strict=True)):
            assert taken == counts[number].taken[item]
            for follower in found.followers:
                assert follower.counts[place] == counts[number].pairs[item, int(follower.item_id)] / UNIT
                shown += 1
        ends = [follower.counts[-1] for follower in found.followers]
        assert ends == sorted(ends, reverse=True)
    assert shown, "there are rows that may be seen"


def test_no_step_is_small_and_no_rare_item_is_shown(counted) -> None:
    run, counts = counted
    growth = TransitionGrowth.read(run.directory.path)
    rare = {str(item) for item in np.flatnonzero(counts[ROUNDS].taken < 5)}
    for item in range(1, ITEMS + 1):
        found = growth.of(1, str(item), ROUNDS, followers=ITEMS)
        steps = np.diff([0, *found.taken])
        assert all(step == 0 or step >= 5 for step in steps)
        assert not rare & {follower.item_id for follower in found.followers}


def test_a_deleted_user_is_in_no_round(counted, tmp_path: Path) -> None:
    run, _ = counted
    path = tmp_path / "run"
    shutil.copytree(run.directory.path, path)
    before = TransitionGrowth.read(path)
    user = int(np.flatnonzero(before.first_rounds)[0])
    history = before.dataset.training_history(user)
    erase_users(path, [before.dataset.vocabulary.user_id(user)])
    after, compared = TransitionGrowth.read(path), 0
    for item in np.unique(history).tolist():
        grown = [growth.of(1, str(item), ROUNDS, 1) for growth in (before, after)]
        if all(one.rounds and one.rounds[-1] == ROUNDS for one in grown):
            compared += 1
            assert grown[0].taken[-1] - grown[1].taken[-1] == (history == item).sum()
    assert compared, "the user took what is shown"


def test_what_is_not_there_is_told(counted, tmp_path: Path) -> None:
    run, _ = counted
    with pytest.raises(UnknownItemError, match="no-such-item"):
        TransitionGrowth.read(run.directory.path).of(1, "no-such-item", ROUNDS, 5)
    with pytest.raises(UnknownError, match="no round of this version"):
        TransitionGrowth.read(tmp_path / "nothing")
    path = tmp_path / "older"
    shutil.copytree(run.directory.path, path)
    (path / "rounds" / FILE).unlink()
    with pytest.raises(UnknownError, match="no round of this version"):
        TransitionGrowth.read(path)


def test_a_run_without_transitions_is_told(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.write_snapshot(tiny_snapshot(tiny_config(ablation={"disable_transitions": True})))
    with pytest.raises(ConflictError, match="switches them off"):
        TransitionGrowth.read(directory.path)


def test_rounds_that_are_done_again_are_noted_anew(tmp_path: Path) -> None:
    note_first_rounds(tmp_path, 1, np.array([3, 0, 0, 0]))
    note_first_rounds(tmp_path, 2, np.array([3, 0, 4, 0]))
    note_first_rounds(tmp_path, 3, np.array([3, 5, 4, 0]))
    assert read_first_rounds(tmp_path).tolist() == [1, 3, 2, 0]
    note_first_rounds(tmp_path, 2, np.array([3, 0, 4, 0]))  # after a crash the run goes on from round 1
    assert read_first_rounds(tmp_path).tolist() == [1, 0, 2, 0]
    (tmp_path / FILE).write_bytes(b"damaged")
    note_first_rounds(tmp_path, 4, np.array([3, 5, 4, 0]))
    assert read_first_rounds(tmp_path).tolist() == [4, 4, 4, 0]
