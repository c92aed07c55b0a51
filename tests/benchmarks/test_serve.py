"""The serving benchmarks: every figure comes out, and both sides answer the same question. Nothing asserts a time."""

import json
import sys

import numpy as np
import pytest

from benchmarks import serve, serve_http, topk
from benchmarks.drawn import recommender_of
from fedmem.errors import FedMemError


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(serve, "FEW_ITEMS", 400)
    monkeypatch.setattr(serve, "MANY_ITEMS", 900)
    monkeypatch.setattr(serve, "MOVIELENS_ITEMS", 300)
    monkeypatch.setattr(serve, "USERS", 4)
    monkeypatch.setattr(serve.serve_http, "serve_http", lambda advance: dict.fromkeys(serve_http.GOALS, 0.5))
    monkeypatch.setattr(topk, "THEMES", 50)
    monkeypatch.setattr(topk, "QUERIES", 10)


@pytest.mark.filterwarnings("ignore")  # of what LensKit and its libraries think of each other
def test_every_figure_comes_out(small):
    record = serve.serve(repetitions=1)
    assert all(record[name] > 0 for name in serve.GOALS)
    assert serve.GOALS.keys() == serve.WHAT.keys()
    assert json.loads(json.dumps(record)) == record


def test_the_answers_measured_are_whole(small):
    recommender = recommender_of(300, 4)
    for user in recommender.dataset.vocabulary.users[:4]:
        answer = recommender.recommend(user, serve.K)
        assert (answer.strategy, len(answer.items)) == ("model", serve.K)
    assert len(recommender.vectors) == 0
    for memory in recommender.trained.memories.values():
        assert len(memory) == len(np.unique(memory.index)) == 50
    assert recommender.queries._experts.keys() == {"sequential", "text", "visual"}


def test_the_peer_ranks_by_the_sequence_alone(small):
    recommender = recommender_of(300, 4)
    best = serve.plain_sasrec(recommender)(0)
    assert len(set(best.tolist())) == serve.K
    assert not set(best.tolist()) & {0, *recommender.dataset.history(0).tolist()}


def test_recall_and_ratio_of_a_large_catalogue(small):
    record = topk.top_k(items=3000, probes=10**6, repetitions=1)
    assert record["recall"] == 1
    assert record["ratio"] > 0
    assert topk.top_k(items=3000, probes=1, repetitions=1)["recall"] < 1
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize("peer", ["faiss", "lenskit"])
def test_a_peer_that_is_not_installed_is_named(monkeypatch, peer):
    monkeypatch.setitem(sys.modules, peer, None)
    with pytest.raises(FedMemError, match=rf"{peer} is not installed.*fedmem\[bench\]"):
        serve.serve()


@pytest.mark.parametrize(("name", "value", "met"), [("r2", 0.5, True), ("r2", 0.7, False), ("r7", 0.4, True)])
def test_goals_are_met_from_above(name, value, met):
    assert serve.is_met(name, value) is met
