"""The controls: the trained parameters reading something else."""

from dataclasses import replace

import numpy as np
import pytest

from fedmem.controls import control_recommenders, random_prototypes
from fedmem.memory.prototypes import Prototypes
from fedmem.modality import Modality
from tests.tiny import tiny_config, tiny_snapshot, trained

TEXT, ID = Modality.TEXT, Modality.SEQUENTIAL

MOVED = {"server_learning_rate": 0.05, "num_rounds": 10, "server_averaging": 0.0}


def controls_of(path, **changes):
    run = trained(path, tiny_snapshot(tiny_config(federated=MOVED, **changes)))
    snapshot, checkpoint = run.directory.read_snapshot(), run.directory.checkpoints.read(run.record.last)
    weighed = replace(checkpoint.server, short_strengths={10: 2 * checkpoint.server.strength})
    checkpoint = replace(checkpoint, server=weighed)
    return snapshot, checkpoint, control_recommenders(snapshot, checkpoint)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return controls_of(tmp_path_factory.mktemp("controls") / "run")


def all_scores(recommender) -> np.ndarray:
    users = recommender.dataset.trainable_users
    return recommender.score(users, [recommender.dataset.history(user) for user in users.tolist()])


def test_every_control_ranks_otherwise_than_the_trained_model(full):
    _, _, controls = full
    found = {name: all_scores(recommender) for name, recommender in controls.items()}
    trained_model = found.pop("trained model")
    assert found.keys() == {
        "empty local memory",
        "another user's memory",
        "empty prototypes",
        "random prototypes",
        "no transitions",
        "shuffled transition rows",
        "random transitions",
        "one weight for all histories",
        "no memory at all",
    }
    for name, scores in found.items():
        assert np.abs(scores - trained_model).max() > 1e-6, name
    assert len({scores.tobytes() for scores in found.values()}) == len(found)


def test_another_users_memory_is_never_the_own_one(full):
    snapshot, checkpoint, controls = full
    again = control_recommenders(snapshot, checkpoint)["another user's memory"]
    for user, own in checkpoint.memories.items():
        history = snapshot.dataset.history(user)
        read = controls["another user's memory"].context(user, history).memory
        assert read is not None
        assert any(np.array_equal(read.items, m.items) for other, m in checkpoint.memories.items() if other != user)
        assert not np.array_equal(read.id_embedding, own.id_embedding)
        assert (read.index == -1).all()  # readable however short the own history is
        assert np.array_equal(read.items, again.context(user, history).memory.items)


@pytest.mark.parametrize("name", ["empty local memory", "no memory at all"])
def test_an_emptied_memory_is_empty_for_users_who_never_trained_too(full, name):
    snapshot, _, controls = full
    history = snapshot.dataset.history(0)
    assert controls[name].context(snapshot.dataset.num_users - 1, history).memory is None
    assert controls[name].context(0, history[-5:]).memory is None


def test_random_prototypes_keep_mass_and_length():
    rng = np.random.default_rng(0)
    old = Prototypes(
        {block: rng.standard_normal((4, 6)).astype(np.float32) for block in (TEXT, ID)},
        {block: rng.random(4).astype(np.float32) for block in (TEXT, ID)},
    )
    found = random_prototypes(old, np.random.default_rng(1))
    for block in old.blocks:
        np.testing.assert_array_equal(found.counts[block], old.counts[block])
        np.testing.assert_allclose(
            np.linalg.norm(found.sums[block], axis=1), np.linalg.norm(old.sums[block], axis=1), rtol=1e-5
        )
        assert found.sums[block].dtype == np.float32
        assert not np.allclose(found.sums[block], old.sums[block])


def test_a_run_without_a_part_has_no_control_of_it(tmp_path):
    switches = {"disable_prototype_agg": True, "disable_transitions": True}
    without_prototypes = controls_of(tmp_path / "a", ablation=switches)[2]
    assert without_prototypes.keys() == {"trained model", "empty local memory", "another user's memory"}
    assert controls_of(tmp_path / "b", ablation={"disable_memory": True})[2].keys() == {"trained model"}
