"""ModelScorer: the score of evaluation and serving is the score of training."""

import numpy as np
import pytest
import torch

from fedmem.errors import CheckpointError
from fedmem.federated import scoring
from fedmem.federated.local_steps import LocalStep
from fedmem.federated.parameters import load_parameters, parameter_arrays, prototype_vectors
from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.federated.start import initial_prototypes
from fedmem.interruption import PER_TOKEN
from fedmem.memory.entries import MemoryEntries
from tests.reference.objective import Reading, collate
from tests.tiny import noisy_parameters, population_of, tiny_features, tiny_snapshot


@pytest.fixture(scope="module")
def model():
    population = population_of(tiny_snapshot(), double=True)
    load_parameters(population.model, noisy_parameters(population))
    return population.model


@pytest.fixture(scope="module")
def prototypes(model):
    config = tiny_snapshot().config
    return initial_prototypes(config.fedmem, config.seed, model, tiny_features())


def memory_at(*index: int) -> MemoryEntries:
    n = len(index)
    return MemoryEntries(
        items=np.array([7, 5, 11, 2][:n], np.int32),
        index=np.array(index, np.int32),
        frequency=np.ones(n, np.int32),
        surprise=np.ones(n, np.float32),
        id_embedding=np.random.default_rng(0).standard_normal((n, 8)).astype(np.float32),
    )


HISTORY = np.array([1, 8, 3, 20, 6, 14, 9, 5], np.int32)
PREFERENCE = np.random.default_rng(4).standard_normal(7).astype(np.float32)


def test_the_score_after_a_history_is_that_of_the_training_pass(model, prototypes):
    """At the last position of a segment, with the same memory and text."""
    context = UserContext(memory_at(0, 2, 5), PREFERENCE)
    step = LocalStep(
        items=np.append(HISTORY, 12).astype(np.int32)[None],
        start=np.zeros(1, np.int32),
        chosen=np.ones((1, 9), bool),
        negatives=np.ones(1, np.int32),
    )
    reading = Reading(step, context.memory, context.preference)
    batch = collate(
        [reading], prototype_vectors(prototypes, model.sasrec.item_embedding), model.sasrec.item_embedding, 7
    )
    with torch.no_grad():
        expected = model(batch.items[:, :-1], batch.reader)[0, -1].numpy()
    found = ModelScorer(model, prototypes).score([context], [HISTORY])
    assert found.shape == (1, 31)
    np.testing.assert_allclose(found[0], expected, atol=1e-12)


def test_a_batch_gives_what_single_users_give(model, prototypes):
    scorer = ModelScorer(model, prototypes)
    contexts = [UserContext(memory_at(0, 1), PREFERENCE), UserContext(), UserContext(memory_at(3)), UserContext()]
    histories = [HISTORY, HISTORY[:0], np.tile(HISTORY, 3), HISTORY[:2]]
    together = scorer.score(contexts, histories)
    for row, (context, history) in enumerate(zip(contexts, histories, strict=True)):
        np.testing.assert_allclose(together[row], scorer.score([context], [history])[0], atol=1e-12)


@pytest.mark.parametrize(("at_once", "parts"), [(5, [5]), (2, [2, 2, 1]), (0, [1] * 5)])
def test_a_batch_is_scored_in_parts_where_a_stop_would_wait_too_long(model, prototypes, monkeypatch, at_once, parts):
    contexts, histories = [UserContext(memory_at(0, 2, 5), PREFERENCE)] * 5, [HISTORY[: 8 - n] for n in range(5)]
    scorer, sizes, queries = ModelScorer(model, prototypes), [], ModelScorer.queries
    expected = scorer.score(contexts, histories)

    def counted(scorer: ModelScorer, contexts: list[UserContext], histories: list[np.ndarray]) -> torch.Tensor:
        sizes.append(len(histories))
        return queries(scorer, contexts, histories)

    work = len(HISTORY) * len(scorer.columns) * PER_TOKEN  # of the longest
    monkeypatch.setattr(scoring, "MOST_WORK", at_once * work)
    monkeypatch.setattr(ModelScorer, "queries", counted)
    np.testing.assert_allclose(scorer.score(contexts, histories), expected, rtol=1e-12)
    assert sizes == parts


def test_only_the_last_items_are_context_and_the_whole_history_is_time(model):
    """Beyond L = 12 items the head is cut; what was remembered from it stays readable."""
    scorer = ModelScorer(model, None)
    long = np.concatenate([HISTORY, HISTORY, HISTORY])
    other_head = np.concatenate([HISTORY[::-1], HISTORY[:4], long[-12:]])
    np.testing.assert_array_equal(scorer.score([UserContext()], [long]), scorer.score([UserContext()], [other_head]))
    early, late = UserContext(memory_at(23)), UserContext(memory_at(24))
    nothing = scorer.score([UserContext(memory_at())], [long])
    np.testing.assert_array_equal(scorer.score([late], [long]), nothing)  # index 24 would be the future
    assert np.abs(scorer.score([early], [long]) - nothing).max() > 1e-6


def test_parameters_must_fit_the_model(model):
    arrays = parameter_arrays(model)
    arrays.pop("sasrec.start_token")
    with pytest.raises(CheckpointError, match=r"other parts than this one's \(sasrec.start_token\): train it anew"):
        load_parameters(model, arrays)


def test_parameter_arrays_are_copies(model):
    arrays = parameter_arrays(model)
    arrays["sasrec.start_token"][:] = 99
    assert not np.any(parameter_arrays(model)["sasrec.start_token"] == 99)


def test_who_knows_nothing_reads_the_prototypes_by_their_mass(model, prototypes):
    """Other masses are another reading for them, and for no other user: attention looks at the centroids alone."""
    scorer = ModelScorer(model, prototypes)
    nothing = scorer.score([UserContext()], [HISTORY[:0]])
    np.testing.assert_array_equal(scorer.score([UserContext(memory_at())], [HISTORY[:0]]), nothing)
    factor = np.array([1e9, 1, 1], np.float32)
    one = ModelScorer(model, prototypes.scaled(factor)).score([UserContext()], [HISTORY[:0]])
    assert np.abs(one - nothing).max() > 1e-6
    before = scorer.score([UserContext()], [HISTORY[:1]])
    np.testing.assert_allclose(
        ModelScorer(model, prototypes.scaled(factor)).score([UserContext()], [HISTORY[:1]]), before, atol=1e-5
    )


def test_new_and_known_users_in_one_batch(model, prototypes):
    scorer = ModelScorer(model, prototypes)
    contexts = [UserContext(), UserContext(memory_at(0, 1), PREFERENCE), UserContext()]
    histories = [HISTORY[:0], HISTORY, HISTORY[:0]]
    together = scorer.score(contexts, histories)
    for row, (context, history) in enumerate(zip(contexts, histories, strict=True)):
        np.testing.assert_allclose(together[row], scorer.score([context], [history])[0], atol=1e-12)
