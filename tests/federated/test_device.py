"""Where the model lives changes no number: a GPU trains and measures what a CPU does, and the same bits every time.

A machine without a GPU checks that everything is moved to where the model is, and that nothing is drawn there.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedmem.config_reader import merged
from fedmem.federated.messages import Broadcast, MetricSums, UpdateSum
from fedmem.federated.start import build_model, initial_prototypes
from fedmem.memory.transitions import TransitionTable
from tests.elsewhere import Elsewhere, NoDraws
from tests.federated.test_chunk_trainer import EVERYTHING, LOCAL_ADAM, assert_same_sums, dense
from tests.tiny import (
    memories_of,
    noisy_parameters,
    population_around,
    population_of,
    tiny_config,
    tiny_dataset,
    tiny_snapshot,
    total,
)

ROUND = 3
LONG = {"model": {"max_seq_len": 200}}  # segments for which attention has another kernel
FEW_STEPS = merged(LOCAL_ADAM, {"training": {"batch_size": 12}})
VARIANTS = {
    "FedSGD": EVERYTHING,
    "long segments": merged(EVERYTHING, LONG),
    "no experts": {"ablation": {"disable_moe": True}},
    "learned fusion": {"model": {"fusion_method": "learned"}, "fedmem": {"memory_policy": "random"}},
    "adaptive fusion": {"model": {"fusion_method": "adaptive"}, "fedmem": {"prototype_aggregation": "recluster"}},
    **{f"local Adam, {loss}": merged(FEW_STEPS, {"training": {"loss": loss}}) for loss in ("bpr", "full_softmax")},
    "local Adam, all on": merged(merged(EVERYTHING, FEW_STEPS), {"training": {"loss": "sampled_softmax"}}),
    "several epochs": {"federated": {"local_epochs": 2}, "training": {"momentum": 0.9, "learning_rate": 0.01}},
}
variants = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that PyTorch can use")


def snapshot_on(device, changes):
    config = tiny_config(**merged(changes, {"device": device, "federated": {"chunk_size": None}}))
    longest = 150 if changes.get("model", {}).get("max_seq_len") else 30
    return tiny_snapshot(config, tiny_dataset(longest=longest))


def two_rounds(population, features) -> tuple[UpdateSum, MetricSums]:
    """Two rounds, the second with the memories of the first; then a validation of all."""
    config, model = population.config, population.model
    prototypes = initial_prototypes(config.fedmem, config.seed, model, features) if config.uses_prototypes else None
    broadcast = Broadcast(ROUND, noisy_parameters(population), prototypes)
    clients = population.dataset.trainable_users
    first = total(population.train(clients[:6], broadcast))
    sums = first + total(population.train(clients, replace(broadcast, round=ROUND + 1)))
    table = TransitionTable.of(sums.transitions, config.transitions)
    asked = replace(broadcast, round=ROUND + 2, transitions=table, strengths=(0.0, 0.5))
    return sums, total(population.evaluate(asked, "validation"))


def on(device, changes, *, double=True):
    """The two rounds on a device: the population after them, the sums, and what was measured."""
    snapshot = snapshot_on(device, changes)
    population = population_of(snapshot, double=double)
    return population, *two_rounds(population, snapshot.features)


@variants
def test_everything_is_moved_to_where_the_model_is_and_nothing_drawn_there(changes):
    snapshot = snapshot_on("cpu", changes)
    model = build_model(snapshot.config, snapshot.dataset.num_items, snapshot.features).double()
    with Elsewhere(model), NoDraws():
        population = population_around(model, snapshot)
        sums, found = two_rounds(population, snapshot.features)
    _, expected, measured = on("cpu", changes)
    assert_same_sums(sums, expected, snapshot.config)
    assert found == measured


def test_what_stays_behind_is_noticed():
    snapshot = snapshot_on("cpu", {})
    model = build_model(snapshot.config, snapshot.dataset.num_items, snapshot.features)
    weight = model.sasrec.start_token
    with Elsewhere(model), pytest.raises(RuntimeError, match="same device"):
        weight + torch.ones(len(weight))
    with Elsewhere(model), pytest.raises(TypeError, match="numpy"):
        weight.detach().numpy()
    with NoDraws(), pytest.raises(RuntimeError, match="draws"):
        torch.rand(2)


@on_a_gpu
@variants
def test_a_gpu_gives_what_a_cpu_gives(changes):
    one, expected, measured = on("cpu", changes)
    other, sums, found = on("cuda", changes)
    assert_same_sums(sums, expected, one.config)
    assert found == measured
    theirs, ours = (memories_of(population, ROUND + 2) for population in (one, other))
    assert {user: own.items.tolist() for user, own in ours.items()} == {u: o.items.tolist() for u, o in theirs.items()}


@on_a_gpu
@variants
def test_a_gpu_gives_the_same_bits_again(changes):
    (_, first, _), (_, second, _) = (on("cuda", changes, double=False) for _ in range(2))
    assert all(np.array_equal(delta, dense(second)[name]) for name, delta in dense(first).items())
