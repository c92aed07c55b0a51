"""The graph of who shares masks with whom."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from fedmem.secure_sums.graph import neighbours


@given(st.integers(2, 40), st.sampled_from([2, 4, 8, 16]), st.integers(0, 99))
def test_all_have_the_same_number_of_neighbours_both_ways_and_all_are_connected(n, degree, seed):
    clients = [3 * client for client in range(n)]
    graph = neighbours(clients, degree, np.random.default_rng(seed))
    assert sorted(graph) == clients
    assert {len(set(others)) for others in graph.values()} == {min(degree, n - 1)}
    assert all(client in graph[other] and other != client for client, others in graph.items() for other in others)
    edges = [(client // 3, other // 3) for client, others in graph.items() for other in others]
    rows, columns = zip(*edges, strict=True)
    assert connected_components(csr_array((np.ones(len(edges)), (rows, columns)), shape=(n, n)))[0] == 1


def test_the_graph_is_drawn():
    graphs = [neighbours(range(30), 4, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert graphs[0] == graphs[1] != graphs[2]
