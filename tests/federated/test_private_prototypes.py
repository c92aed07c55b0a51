"""Prototypes with a budget: what is clipped and what is noised, against the centroids handed down, by fixed seeds."""

from dataclasses import replace

import numpy as np
import pytest

from fedmem.federated.messages import Broadcast, ClientUpdate, UpdateSum
from fedmem.federated.private_prototypes import ClippedPrototypes, NoisedPrototypes, Start, length, shrunk
from fedmem.federated.private_weights import Clipped, Noised, nothing_sent, protected
from fedmem.memory.prototypes import Prototypes
from fedmem.modality import Modality
from tests.tiny import tiny_config

RNG = np.random.default_rng(0)
TEXT, IDS = Modality.TEXT, Modality.SEQUENTIAL
K, D = 4, 300


def drawn(seed: int, members: float) -> Prototypes:
    """Prototypes of two blocks with so many members each, around one place for each index."""
    rng = np.random.default_rng(seed)
    places = np.random.default_rng(99).standard_normal((K, D))
    counts = np.full(K, members, np.float32)
    sums = {block: (members * (places + 0.1 * rng.standard_normal((K, D)))).astype(np.float32) for block in (TEXT, IDS)}
    return Prototypes(sums, {TEXT: counts, IDS: counts})


HANDED_DOWN = drawn(1, 1.0)
START = Start.of(HANDED_DOWN)
BROADCAST = Broadcast(0, {"a": np.zeros(2, np.float32)}, HANDED_DOWN)


def noised(deviation: float, total: Prototypes, seed: int = 0) -> Prototypes:
    """The sum as the server reads it."""
    postprocessor = NoisedPrototypes(deviation).of_round(BROADCAST)
    found = postprocessor.postprocess_sum(UpdateSum({}, 1.0, prototypes=total), np.random.default_rng(seed)).prototypes
    assert isinstance(found, Prototypes)
    return found


def test_a_client_is_clipped_to_the_norm_of_what_lies_beyond_the_start_and_its_centroids_stay() -> None:
    sent = drawn(2, 5.0)
    clipping = ClippedPrototypes(3.0).of_round(BROADCAST)
    clipped = clipping.postprocess_one_client(ClientUpdate(1, prototypes=sent), RNG).prototypes
    assert clipped is not None
    assert length(clipped, START) == pytest.approx(3.0, rel=1e-5)
    assert np.allclose(clipped.centroids(TEXT), sent.centroids(TEXT), atol=1e-5)
    further = ClippedPrototypes(1e6).of_round(BROADCAST).postprocess_one_client(ClientUpdate(1, prototypes=sent), RNG)
    assert further.prototypes is not None
    assert np.array_equal(further.prototypes.sums[TEXT], sent.sums[TEXT])
    assert clipping.postprocess_one_client(ClientUpdate(1), RNG).prototypes is None


def test_one_client_changes_what_gets_noise_by_the_norm_at_most() -> None:
    clipping = ClippedPrototypes(3.0).of_round(BROADCAST)
    sent = [clipping.postprocess_one_client(ClientUpdate(1, prototypes=drawn(s, 5.0)), RNG).prototypes for s in (2, 3)]
    whole, without = sent[0] + sent[1], sent[1]  # type: ignore[operator]
    moved = [START.moved(whole, block) - START.moved(without, block) for block in (TEXT, IDS)]
    counted = [whole.counts[block] - without.counts[block] for block in (TEXT, IDS)]
    assert np.linalg.norm(np.concatenate([part.ravel() for part in (*moved, *counted)])) <= 3.0 * (1 + 1e-4)


def test_without_noise_a_sum_is_read_as_it_is() -> None:
    total = drawn(2, 50.0)
    found = noised(0.0, total)
    for block in (TEXT, IDS):
        assert np.allclose(found.sums[block], total.sums[block], rtol=1e-4, atol=1e-3)
        assert np.array_equal(found.counts[block], total.counts[block])


def test_noise_is_normal_of_the_deviation_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedmem.federated.private_prototypes.shrunk", lambda vectors, deviation: vectors)
    total, found = drawn(2, 1000.0), [noised(3.0, drawn(2, 1000.0), seed) for seed in range(20)]
    for block in (TEXT, IDS):
        counts = np.array([each.counts[block] - total.counts[block] for each in found]).ravel() / 3
        moved = np.array([START.moved(each, block) - START.moved(total, block) for each in found]).ravel() / 3
        for noise in (counts, moved):  # five standard errors of mean and variance
            assert abs(noise.mean()) < 5 / len(noise) ** 0.5
            assert abs(noise.var() - 1) < 5 * (2 / len(noise)) ** 0.5 + 0.01
    assert not np.array_equal(found[0].sums[TEXT], found[1].sums[TEXT])


def test_what_is_more_noise_than_news_stays_where_it_was() -> None:
    few, many = noised(20.0, drawn(2, 100.0)), noised(20.0, drawn(2, 100_000.0))
    assert np.allclose(few.centroids(TEXT), START.centroids[TEXT], atol=1e-3)
    assert np.allclose(many.centroids(TEXT), drawn(2, 1.0).centroids(TEXT), atol=0.02)


def test_a_prototype_whose_count_is_noise_has_no_members() -> None:
    found = noised(20.0, drawn(2, 1.0))
    assert (found.counts[TEXT] == 0).sum() >= 3
    assert not found.sums[TEXT][found.counts[TEXT] == 0].any()
    assert not (found.counts[TEXT] < 0).any()


def test_a_round_that_draws_no_client_is_noise_too() -> None:
    nothing = nothing_sent(BROADCAST)
    assert isinstance(nothing.prototypes, Prototypes)
    assert not nothing.prototypes.sums[TEXT].any()
    assert nothing_sent(replace(BROADCAST, global_memory=None)).prototypes is None


def test_vectors_of_noise_shrink_to_nothing_and_others_by_what_noise_adds() -> None:
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((1000, D)).astype(np.float32)
    believed = np.square(shrunk(noise, 1.0)).sum(1) > 0
    assert believed.mean() < 0.06, "two standard deviations, of a skew distribution"
    signal = np.full((1000, D), 2.0, np.float32)
    read = shrunk(signal + noise, 1.0)
    assert np.square(read - signal).sum() < 0.9 * np.square(noise).sum()


def test_clipping_comes_last_on_a_client_and_noise_first_on_a_sum() -> None:
    privacy = {"weights_noise": 2.0, "weights_clip": 0.5, "prototypes_noise": 3.0, "prototypes_clip": 2.0}
    chain = protected(tiny_config(privacy=privacy), 12, ())
    assert [type(each) for each in chain] == [NoisedPrototypes, Noised, Clipped, ClippedPrototypes]
    assert (chain[0].deviation, chain[-1].norm) == (6.0, 2.0)  # type: ignore[attr-defined]
