"""The whole protocol: masked sums are plain sums, whoever drops out, and no masked word says anything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedmem.errors import TrainingError
from fedmem.secure_sums.client import MaskingClient
from fedmem.secure_sums.fixed_point import FixedPoint
from fedmem.secure_sums.graph import neighbours
from fedmem.secure_sums.server import unmask
from fedmem.secure_sums.session import Session, threshold_of

WORDS = {32: np.uint32, 64: np.uint64}


class Cohort:
    """Clients who have announced their keys and given out their shares."""

    def __init__(self, clients, degree, share, seed=0):
        rng = np.random.default_rng(seed)
        self.devices = {client: MaskingClient(client, np.random.default_rng([seed, client])) for client in clients}
        keys = {client: device.public_key for client, device in self.devices.items()}
        graph = neighbours(clients, degree, rng)
        self.session = Session("test", seed, graph, keys, threshold_of(share, len(graph[clients[0]]) + 1, len(clients)))
        for owner, device in self.devices.items():
            for holder, shares in device.shares(self.session).items():
                self.devices[holder].hold(owner, shares)

    def masked(self, client, words):
        lanes = [words.copy()]
        self.devices[client].mask(self.session, lanes)
        return lanes[0]

    def unmasked(self, total, survivors):
        revealed = {client: self.devices[client].reveal(survivors) for client in survivors}
        unmask(self.session, [total], survivors, revealed)
        return total


def test_a_client_is_in_a_small_session_too():
    cohort = Cohort([3, 8], 16, 0.66)
    sent = [cohort.masked(client, np.array([client, 7], np.uint64)) for client in (3, 8)]
    assert cohort.unmasked(sent[0] + sent[1], {3, 8}).tolist() == [11, 14]


@st.composite
def sums(draw):
    """Clients with vectors, some of whom drop out, and how many neighbours each has."""
    clients = draw(st.lists(st.integers(0, 10_000), min_size=2, max_size=14, unique=True))
    bits, clip = draw(st.sampled_from([32, 64])), draw(st.sampled_from([0.5, 3.0, 64.0]))
    number = st.floats(-2 * clip, 2 * clip, width=32)
    size = draw(st.integers(1, 5))
    vectors = [draw(st.lists(number, min_size=size, max_size=size)) for _ in clients]
    dropped = draw(st.sets(st.sampled_from(clients), max_size=len(clients) - 1))
    return clients, bits, clip, np.array(vectors), dropped, draw(st.sampled_from([2, 4, 6, 16]))


@settings(max_examples=40, deadline=None)
@given(sums(), st.sampled_from([0.5, 0.66, 0.9]), st.integers(0, 1000))
def test_the_masked_sum_is_the_plain_sum_with_any_dropouts_above_the_threshold(drawn, share, seed):
    clients, bits, clip, vectors, dropped, degree = drawn
    cohort = Cohort(clients, degree, share, seed)
    point = FixedPoint(bits, clip, len(clients))
    survivors = set(clients) - dropped
    total = np.zeros(vectors.shape[1], WORDS[bits])
    for client, vector in zip(clients, vectors, strict=True):
        if client in survivors:
            total += cohort.masked(client, point.encode(vector)[0])
    graph, needed = cohort.session.neighbours, cohort.session.threshold
    left = {client: len(survivors & set(cohort.session.holders(client))) for client in clients}
    exposed = {client for client in clients if client in survivors or survivors & set(graph[client])}
    if any(left[client] < needed for client in exposed):
        with pytest.raises(TrainingError, match=r"who hold shares of a client's masks are left, and .* are needed"):
            cohort.unmasked(total, survivors)
        return
    plain = sum(
        (vector.clip(-clip, clip) for c, vector in zip(clients, vectors, strict=True) if c in survivors),
        np.zeros(vectors.shape[1]),
    )
    # Words of 64 bits are finer than the doubles that are encoded, added up in clear, and decoded.
    precision = len(clients) * max(point.step, 2 * clip * np.finfo(np.float64).eps)
    np.testing.assert_allclose(point.decode(cohort.unmasked(total, survivors)), plain, rtol=0, atol=precision)


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 11), min_size=1), st.sampled_from([2, 4, 16]), st.integers(0, 1000))
def test_words_that_are_masked_together_are_the_sum_of_what_each_client_masks(together, degree, seed):
    cohort, rng = Cohort(list(range(12)), degree, 0.66, seed), np.random.default_rng(seed)
    words = {
        client: [rng.integers(0, 2**32, 7, np.uint32), rng.integers(0, 2**64, 3, np.uint64)] for client in together
    }
    each = {client: [lane.copy() for lane in lanes] for client, lanes in words.items()}
    total = [sum(lanes[1:], lanes[0]) for lanes in zip(*words.values(), strict=True)]
    for client in together:
        cohort.devices[client].mask(cohort.session, each[client])
        cohort.devices[client].mask(cohort.session, total, {}, frozenset(together))
    for lane, lanes in zip(total, zip(*each.values(), strict=True), strict=True):
        assert np.array_equal(lane, sum(lanes[1:], lanes[0]))


@pytest.mark.parametrize("words", [np.uint32, np.uint64])
def test_a_masked_upload_is_uniform_whatever_is_masked(words):
    cohort = Cohort(list(range(20)), 6, 0.66)
    high_byte = 8 * (np.dtype(words).itemsize - 1)
    for nothing in (np.zeros(50_000, words), np.full(50_000, np.iinfo(words).max, words)):
        sent = cohort.masked(4, nothing)
        for shift in (0, high_byte):
            counts = np.bincount(((sent >> words(shift)) & words(255)).astype(np.int64), minlength=256)
            assert stats.chisquare(counts).pvalue > 1e-4
        bits = np.unpackbits(sent.view(np.uint8)).reshape(len(sent), -1).mean(0)
        assert np.abs(bits - 0.5).max() < 5 * 0.5 / np.sqrt(len(sent))
        assert abs(np.corrcoef(sent[:-1].astype(float), sent[1:].astype(float))[0, 1]) < 5 / np.sqrt(len(sent))


def test_the_masks_of_two_sessions_have_nothing_in_common():
    words = np.zeros(1000, np.uint32)
    first, second = (Cohort(list(range(8)), 4, 0.66, seed).masked(2, words) for seed in (0, 1))
    assert (first == second).mean() < 0.01


def test_sums_of_some_stay_masked_until_all_are_there():
    """Also without its own mask a client's words are hidden by those that it shares with neighbours."""
    cohort = Cohort(list(range(6)), 4, 0.66)
    words = np.arange(2000, dtype=np.uint32)
    sent = {client: cohort.masked(client, words) for client in range(6)}
    some = sent[0] + sent[1]
    assert (some == 2 * words).mean() < 0.01
    everything = sum((sent[client] for client in range(2, 6)), some)
    assert np.array_equal(cohort.unmasked(everything, set(range(6))), 6 * words)


def test_a_client_reveals_one_secret_of_a_neighbour_and_never_the_other():
    cohort = Cohort(list(range(5)), 4, 0.66)
    device = cohort.devices[0]
    device.reveal({0, 1, 2, 3})
    assert device.reveal({0, 1, 2, 3})
    with pytest.raises(AssertionError, match="one list of survivors"):
        device.reveal({0, 1, 2, 4})
