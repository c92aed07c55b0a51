"""How many shares have to be needed, so that a server that lies about who is gone reads no small part of a sum."""

import numpy as np
import pytest

from fedmem.secure_sums.keys import agreement
from fedmem.secure_sums.masks import SEED_BYTES, add_mask
from fedmem.secure_sums.session import KEY_BYTES, least_threshold, sign, threshold_of
from fedmem.secure_sums.shamir import combine
from tests.secure_sums.lying_server import lies
from tests.secure_sums.test_protocol import Cohort


def ring(n, degree):
    """The graph of ``neighbours`` before its places are drawn."""
    steps = [step for step in range(-(degree // 2), degree // 2 + 1) if step]
    return {place: tuple((place + step) % n for step in steps) for place in range(n)}


def cut(n, degree, part):
    """The fewest of a ring of n who cut off a part of so many from the others: half the degree on either side."""
    return [*range(part, part + degree // 2), *range(n - degree // 2, n)]


@pytest.mark.parametrize(("degree", "least"), [(2, 3), (4, 4), (6, 6), (8, 7), (16, 13), (32, 24)])
def test_no_lie_cuts_a_ring_and_with_a_share_fewer_one_does(degree, least):
    n = 5 * degree + 2
    assert least_threshold(degree + 1, n) == least
    for part in (1, degree // 2, degree, 2 * degree):
        assert lies(ring(n, degree), least, cut(n, degree, part)) is None
    assert lies(ring(n, degree), least - 1, cut(n, degree, 2 * degree)) is not None


@pytest.mark.parametrize("n", range(3, 18))
def test_where_all_are_neighbours_no_sum_is_of_fewer_than_half(n):
    clients = {client: tuple(other for other in range(n) if other != client) for client in range(n)}
    threshold = least_threshold(n, n)
    assert lies(clients, threshold, range(n // 2 + 1)) is None
    assert threshold == threshold_of(0.5, n, n) == threshold_of(0.66, n, n)


def test_with_just_more_than_half_a_lie_leaves_two():
    clients = {client: tuple(other for other in range(7) if other != client) for client in range(7)}
    assert lies(clients, 4, range(5)) is not None


def test_more_than_a_share_may_be_needed_and_fewer_never():
    assert threshold_of(0.66, 17, 17) == 12
    assert threshold_of(0.66, 17, 18) == threshold_of(0.5, 17, 1000) == 13
    assert threshold_of(0.9, 17, 18) == 16


def part_read(cohort, sent, part, left_out):
    """Read the sum of a part of the clients by lies about others."""
    session = cohort.session
    told = lies(session.neighbours, session.threshold, left_out)
    if told is None:
        return None
    clients = frozenset(session.neighbours)
    revealed = {client: cohort.devices[client].reveal(clients - told[client]) for client in clients}

    def secret(owner, *, key):
        holders = [each for each in session.holders(owner) if (owner in told[each]) == key][: session.threshold]
        return combine({session.point(owner, each): revealed[each][owner] for each in holders})

    total = sum((sent[client] for client in part), np.zeros_like(sent[0]))
    for client in part:
        add_mask([total], secret(client, key=False).to_bytes(SEED_BYTES), -1)
    for gone in left_out:
        seed_with = agreement(secret(gone, key=True).to_bytes(KEY_BYTES), session.label)
        for client in set(session.neighbours[gone]) & set(part):
            add_mask([total], seed_with(session.public_keys[client]), -sign(client, gone))
    return total


def test_a_server_that_lies_reads_a_part_with_a_share_fewer_and_none_with_those_that_are_needed(monkeypatch):
    words = np.arange(5, dtype=np.uint64)

    def attacked():
        cohort = Cohort(list(range(42)), 8, 0.66)
        around = list(cohort.session.neighbours)  # in the order of the circle
        part, left_out = around[:20], [around[place] for place in cut(42, 8, 20)]
        return part_read(cohort, {client: cohort.masked(client, words) for client in range(42)}, part, left_out)

    assert attacked() is None
    monkeypatch.setattr("fedmem.secure_sums.session.least_threshold", lambda holders, clients: 6)
    assert attacked().tolist() == (20 * words).tolist()
