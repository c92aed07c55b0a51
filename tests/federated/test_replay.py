"""A replayed memory is the one that the slow twin writes in a pass that trains nothing."""

import numpy as np
import pytest

from fedmem.data.client_dataset import ClientDataset
from fedmem.federated.local_steps import LocalSteps
from fedmem.federated.parameters import load_parameters, prototype_vectors
from fedmem.federated.replay import replayed_memory
from fedmem.federated.start import initial_prototypes, item_blocks
from fedmem.memory.entries import MemoryEntries
from fedmem.model.sasrec import no_dropout
from tests.reference.client import SlowClient
from tests.reference.memory import SlowMemory
from tests.reference.objective import collate, local_objective
from tests.tiny import ITEMS, noisy_parameters, population_of, tiny_config, tiny_snapshot, walks

STREAM, ROUND = 99, 4
HISTORIES = [walks(1, ITEMS, seed=n, shortest=n, longest=n)[0] for n in (1, 5, 13, 40)]
CHANGES = [
    {},
    {"training": {"loss": "bpr", "crop_probability": 1.0}, "fedmem": {"surprise_quantile": 0.5}},
    {"training": {"batch_size": 4}, "federated": {"local_epochs": 2}},
    {"fedmem": {"memory_policy": "random"}},
    {"ablation": {"disable_prototype_agg": True}, "fedmem": {"warmup_rounds": 100}},
]


def slowly(config, model, data, prototypes, features, preference) -> MemoryEntries:
    """One pass of the twin: uncropped, and memories are written whatever the round."""
    training = config.training.model_copy(update={"crop_probability": 0.0})
    fedmem = config.fedmem.model_copy(update={"warmup_rounds": 0})
    config = config.model_copy(update={"training": training, "fedmem": fedmem})
    memory = SlowMemory(config.fedmem, config.model.sasrec_hidden_dim)
    client = SlowClient(STREAM, data, memory, config, item_blocks(features), preference)
    for reading in client.readings(ROUND):
        batch = collate([reading], prototypes, model.sasrec.item_embedding, model.text_dim)
        losses = local_objective(model, batch, config, no_dropout)
        client.remember(reading.step, losses.surprise, losses.embedding, ROUND)
    return memory.entries()


@pytest.mark.parametrize("history", HISTORIES, ids=len)
@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("text", [False, True], ids=["no text", "text"])
def test_a_replay_is_what_the_twin_remembers(changes, history, text):
    snapshot = tiny_snapshot(tiny_config(**changes))
    population = population_of(snapshot)
    model, config = population.model, snapshot.config
    load_parameters(model, noisy_parameters(population))
    start = initial_prototypes(config.fedmem, config.seed, model, snapshot.features) if config.uses_prototypes else None
    prototypes = prototype_vectors(start, model.sasrec.item_embedding)
    data = ClientDataset(np.array(history, np.int32), ITEMS)
    preference = snapshot.user_features.of(2) if text else None
    found = replayed_memory(LocalSteps.of(config), config.fedmem, model, data, prototypes, STREAM, ROUND, preference)
    expected = slowly(config, model, data, prototypes, snapshot.features, preference)
    assert len(found) > 0
    for name in ("items", "index", "frequency"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name in ("surprise", "id_embedding"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6, atol=1e-6)


def test_a_replay_computes_no_loss(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a loss was computed")

    monkeypatch.setattr("fedmem.federated.objective.losses", refuse)
    monkeypatch.setattr("fedmem.model.recommender.UR4RecV2MoE.compute_contrastive_loss", refuse)
    snapshot = tiny_snapshot()
    model = population_of(snapshot).model
    data = ClientDataset(np.array(HISTORIES[2], np.int32), ITEMS)
    local = LocalSteps.of(snapshot.config)
    assert len(replayed_memory(local, snapshot.config.fedmem, model, data, None, STREAM, ROUND)) > 0
