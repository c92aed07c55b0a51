"""SingleQueries: in numpy, the query that the model computes."""

import numpy as np
import pytest

from fedmem.federated.scoring import UserContext
from fedmem.modality import Modality
from fedmem.serving.single_query import SingleQueries
from tests.serving.builders import drawn_memory, drawn_recommender

PREFERENCE = np.random.default_rng(4).standard_normal(7).astype(np.float32)
HISTORIES = [[], [4], [3, 8, 30, 9, 4, 12], [*range(1, 27), 3, 9]]


def contexts(history):
    memory = drawn_memory([*history, 4, 9, 3], np.random.default_rng(1))  # of items without text or image, too
    return [UserContext(), UserContext(memory), UserContext(memory, PREFERENCE), UserContext(memory.take(np.arange(0)))]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": {"fusion_method": "learned"}},
        {"model": {"fusion_method": "adaptive", "sasrec_num_blocks": 3, "moe_num_heads": 4}},
        {"model": {"sasrec_weight": 0.8, "sasrec_num_heads": 1, "moe_num_heads": 1}},
        {"text": False},
        {"image": False},
        {"text": False, "image": False},
        {"fedmem": {"enable_prototype_aggregation": False}},
        {"ablation": {"disable_memory": True}},
        {"ablation": {"disable_moe": True}},
    ],
    ids=str,
)
def test_it_is_the_models_query(options):
    recommender = drawn_recommender(**options)
    queries = SingleQueries(recommender.scorer)
    for history in (np.array(items, np.int32) for items in HISTORIES):
        for context in contexts(history.tolist()):
            expected = recommender.scorer.queries([context], [history])[0].numpy()
            found = queries.query(context, history)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


def test_weights_and_gates_are_shares():
    queries = SingleQueries(drawn_recommender().scorer)
    history = np.array(HISTORIES[2], np.int32)
    parts = queries.parts(contexts(history.tolist())[2], history)
    assert sum(parts.gates.values()) == pytest.approx(1, abs=1e-6)
    assert parts.weights.keys() == parts.experts.keys() == {"sequential", "text", "visual"}
    for weights in parts.weights.values():
        assert weights.sum() == pytest.approx(1, abs=1e-6)


def test_who_knows_nothing_reads_the_prototypes_by_their_mass():
    recommender = drawn_recommender()
    parts = SingleQueries(recommender.scorer).parts(UserContext(), np.zeros(0, np.int32))
    prototypes = recommender.scorer.global_memory
    mass = prototypes.mass * prototypes.present(Modality.SEQUENTIAL)
    np.testing.assert_allclose(parts.weights["sequential"], [*(mass / mass.sum()), 0], atol=1e-6)
    expert = dict(recommender.scorer.model.retriever.by_modality())[Modality.SEQUENTIAL]
    mean = (mass[:, None] * prototypes.centroids(Modality.SEQUENTIAL)).sum(0) / mass.sum()
    read = expert.value.weight.detach().numpy() @ mean
    expected = parts.fusion[1] * parts.gates["sequential"] * (expert.output.weight.detach().numpy() @ read)
    np.testing.assert_allclose(parts.experts["sequential"], expected, atol=1e-5)
