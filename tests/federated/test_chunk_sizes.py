"""Chunks of clients: as large as asked for, unless an operation on one would hold up a stop."""

from dataclasses import replace

import numpy as np
import pytest

from fedmem.config import ExperimentConfig
from fedmem.config_reader import validate_config
from fedmem.federated.chunk_sizes import LONG_HISTORY, PER_ITEM, ChunkSizes
from fedmem.interruption import MOST_WORK, PER_TOKEN
from tests.tiny import tiny_features

OWN = {"training": {"batch_size": 32}}  # several steps: every client has parameters of its own


def sizes_of(changes, items: int = 100) -> ChunkSizes:
    catalogue = replace(tiny_features(), num_items=items)  # of which nothing counts but its size
    return ChunkSizes.of(validate_config(changes, "the test"), catalogue)


def test_a_chunk_of_long_histories_has_fewer_clients():
    clients = np.arange(40)
    lengths = np.sort(np.r_[np.full(3, 40_000), np.full(7, 10_000), np.full(30, 50)])[::-1]
    groups = list(ChunkSizes(16, 16 * LONG_HISTORY).chunks(clients, lengths))
    assert np.concatenate(groups).tolist() == clients.tolist()
    assert [len(group) for group in groups] == [1, 1, 1, 4, 4, 16, 13]
    assert all(len(group) == 1 or len(group) * lengths[group[0]] <= 16 * LONG_HISTORY for group in groups)


@pytest.mark.parametrize("changes", [{}, {"model": {"max_seq_len": 200}}, OWN])
def test_histories_and_catalogues_as_those_of_movielens_are_chunked_as_ever(changes):
    """3,416 items and histories of up to 2,697: what was trained on them keeps every bit."""
    lengths = np.sort(np.random.default_rng(0).integers(5, 2_697, 100))[::-1]
    groups = sizes_of(changes, 3_416).chunks(np.arange(100), lengths)
    assert [len(group) for group in groups] == [16] * 6 + [4]


def test_each_client_is_trained_though_its_history_alone_is_too_long():
    assert sum(map(len, ChunkSizes(16, 1).chunks(np.arange(100), np.full(100, 50)))) == 100


ALL_AT_ONCE = {"federated": {"chunk_size": 10_000}}


@pytest.mark.parametrize("dim", [64, 1024])
def test_no_operation_on_tokens_takes_more_than_was_meant(dim):
    found = sizes_of(ALL_AT_ONCE | {"model": {"sasrec_hidden_dim": dim}})
    assert found.clients == 10_000  # the model is shared: clients cost what their tokens cost
    assert found.tokens * dim * max(dim, PER_TOKEN) <= MOST_WORK


def test_clients_with_parameters_of_their_own_are_fewer_the_larger_the_catalogue():
    """Each has a table of all items, of which the text's adapter is the longest operation."""
    several = ALL_AT_ONCE | OWN
    few, many = sizes_of(several, 100).clients, sizes_of(several, 10_000).clients
    dim = ExperimentConfig().model.sasrec_hidden_dim
    assert many * 10_001 * dim * PER_ITEM <= MOST_WORK < (many + 1) * 10_001 * dim * PER_ITEM
    assert few > 90 * many
    assert sizes_of(several, 10**6).clients == 1


def test_a_gpu_takes_as_many_clients_at_once_as_an_operation_may_have():
    """A CPU works best on what its caches hold, a GPU on much at a time; who names a size gets it on both."""
    assert sizes_of({}).clients == sizes_of({"device": "cpu:0"}).clients == 16
    found = sizes_of({"device": "cuda"})
    assert (found.clients, found.tokens) == (10_000, sizes_of(ALL_AT_ONCE).tokens)
    assert sizes_of({"device": "cuda:1"} | OWN, 3_416).clients == sizes_of(ALL_AT_ONCE | OWN, 3_416).clients < 100
    assert sizes_of({"device": "cuda", "federated": {"chunk_size": 3}}).clients == 3
