"""Rankings: exact against brute force, whatever is hidden; FAISS behind the same function."""

import logging
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.serving.ranking import ExactRanking, FaissRanking, TopK, lower_bounds, ranking_of

NOTHING = np.zeros(0, np.int64)


def drawn_columns(items: int, dim: int = 6, seed: int = 0, levels: int | None = None) -> np.ndarray:
    """An item matrix; of whole numbers if ``levels`` is given, so that there are many ties."""
    rng = np.random.default_rng(seed)
    shape = (dim, items + 1)
    drawn = rng.standard_normal(shape) if levels is None else rng.integers(-levels, levels + 1, shape)
    return np.ascontiguousarray(drawn.astype(np.float32))


def brute_force(columns: np.ndarray, query: np.ndarray, wanted: TopK) -> list[int]:
    scores = query.astype(np.float64) @ columns.astype(np.float64)
    hidden = {0, *wanted.hidden.tolist()} | (set() if wanted.outside is None else set(np.flatnonzero(wanted.outside)))
    left = [item for item in range(columns.shape[1]) if item not in hidden]
    return sorted(left, key=lambda item: (-scores[item], item))[: wanted.count]


@st.composite
def questions(draw):
    items = draw(st.integers(1, 700))
    asked = []
    for _ in range(draw(st.integers(1, 40))):
        rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        hidden = rng.integers(0, items + 1, draw(st.integers(0, 30)))
        outside = rng.random(items + 1) < 0.7 if draw(st.booleans()) else None
        asked.append(TopK(draw(st.integers(1, 2 * items)), hidden, outside))
    return items, asked, draw(st.integers(0, 2**16))


@given(questions())
def test_it_finds_what_sorting_everything_finds_ties_included(question):
    items, asked, seed = question
    columns = drawn_columns(items, seed=seed, levels=2)
    queries = np.random.default_rng(seed).integers(-2, 3, (len(asked), 6)).astype(np.float32)
    ranking = ExactRanking(columns)
    for query, wanted, (found, scores) in zip(queries, asked, ranking.best(queries, asked), strict=True):
        assert found.tolist() == brute_force(columns, query, wanted)
        np.testing.assert_array_equal(scores, query @ columns[:, found])


@given(questions())
def test_together_is_one_by_one_to_the_last_bit(question):
    items, asked, seed = question
    ranking = ExactRanking(drawn_columns(items, seed=seed))
    queries = np.random.default_rng(seed).standard_normal((len(asked), 6)).astype(np.float32)
    for query, wanted, together in zip(queries, asked, ranking.best(queries, asked), strict=True):
        (alone,) = ranking.best(query[None], [wanted])
        np.testing.assert_array_equal(together[0], alone[0])
        np.testing.assert_array_equal(together[1], alone[1])


@given(st.integers(1, 500), st.integers(1, 60), st.integers(0, 2**16))
def test_at_least_so_many_reach_the_bound(n, count, seed):
    scores = np.random.default_rng(seed).integers(0, 50, (3, n)).astype(np.float32)
    bounds = lower_bounds(scores, count)
    reached = (scores >= bounds[:, None]).sum(1)
    assert np.all(reached >= min(count, n))
    if count < n:
        assert np.all(bounds <= np.sort(scores, axis=1)[:, -count])


def test_nothing_is_left():
    ranking = ExactRanking(drawn_columns(5))
    ((found, scores),) = ranking.best(np.ones((1, 6), np.float32), [TopK(3, np.arange(6))])
    assert len(found) == len(scores) == 0


# FAISS


@pytest.fixture(scope="module")
def large():
    pytest.importorskip("faiss")
    return drawn_columns(3000, 8)


def test_all_cells_searched_are_the_exact_answer(large):
    quick, exact = FaissRanking(large, probes=10**6), ExactRanking(large)
    queries = np.random.default_rng(1).standard_normal((5, 8)).astype(np.float32)
    outside = np.arange(3001) % 3 > 0
    for wanted in (
        TopK(10, NOTHING),
        TopK(10, np.arange(0, 3001, 2)),
        TopK(7, NOTHING, outside),
        TopK(2999, np.array([5])),
        TopK(5000, NOTHING),
    ):
        for a, b in zip(quick.best(queries, [wanted] * 5), exact.best(queries, [wanted] * 5), strict=True):
            np.testing.assert_array_equal(a[0], b[0])
            np.testing.assert_array_equal(a[1], b[1])


def test_some_cells_searched_find_most_and_never_what_is_hidden(large):
    quick, exact = FaissRanking(large, probes=20), ExactRanking(large)
    queries = np.random.default_rng(1).standard_normal((50, 8)).astype(np.float32)
    wanted = [TopK(10, np.arange(0, 3001, 2))] * 50
    found, best = quick.best(queries, wanted), exact.best(queries, wanted)
    shared = np.mean([len(np.intersect1d(a[0], b[0])) for a, b in zip(found, best, strict=True)]) / 10
    assert shared > 0.8
    assert all(len(items) == 10 and np.all(items % 2 == 1) for items, _ in found)


@given(
    st.integers(1, 400),
    st.integers(1, 6),
    st.lists(st.integers(1, 90), min_size=1, max_size=12),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_pages_of_a_searched_catalogue_are_all_items_once(items, probes, sizes, in_category, seed):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(seed)
    columns = drawn_columns(items, seed=seed, levels=2 if seed % 2 else None)
    ranking = FaissRanking(columns, probes)
    changed = np.unique(rng.integers(1, items + 1, 3))
    columns = np.concatenate([columns, columns[:, :2]], axis=1)
    columns[:, changed] = rng.standard_normal((6, len(changed)))
    ranking = ranking.with_columns(columns, np.append(changed, [items + 1, items + 2]))
    hidden = rng.integers(1, items + 3, int(rng.integers(0, 1 + items // 2)))
    outside = rng.random(items + 3) < 0.5 if in_category else None
    query = rng.integers(-2, 3, (1, 6)).astype(np.float32)
    there = brute_force(columns, query[0], TopK(items + 3, hidden, outside))
    pages = []
    while len(pages) < len(there):
        end = len(pages) + sizes[len(pages) % len(sizes)]
        ((found, scores),) = ranking.best(query, [TopK(end + 1, hidden, outside)])
        assert len(found) == min(end + 1, len(there))
        np.testing.assert_allclose(scores, query[0] @ columns[:, found], rtol=1e-5, atol=1e-5)
        assert found[: len(pages)].tolist() == pages
        pages = found[:end].tolist()
    assert sorted(pages) == sorted(there)


def test_what_changed_is_found_by_its_new_vector(large):
    quick = FaissRanking(large, probes=3)
    query = np.random.default_rng(2).standard_normal((1, 8)).astype(np.float32)
    columns = np.concatenate([large, 9 * query.T], axis=1)
    columns[:, 17] = 8 * query[0]
    changed = quick.with_columns(columns, np.array([17, 3001]))
    assert changed.best(query, [TopK(2, NOTHING)])[0][0].tolist() == [3001, 17]
    assert 3001 not in quick.best(query, [TopK(2, NOTHING)])[0][0]


def test_large_catalogues_are_searched_by_faiss(large):
    assert isinstance(ranking_of(large), ExactRanking)
    assert isinstance(ranking_of(large, exact_items=100), FaissRanking)


def test_without_faiss_it_is_exact_and_says_so(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with caplog.at_level(logging.WARNING):
        assert isinstance(ranking_of(drawn_columns(200), exact_items=100), ExactRanking)
    assert "fedmem[faiss]" in caplog.text
