"""Metrics against hand-computed examples, and the middle rank against its definition."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.errors import FedMemError
from fedmem.evaluation import ranking_metrics as rm

NOTHING = np.zeros(0, dtype=np.int64)


def one_rank(scores: list[float], target: int, seen: list[int]) -> float:
    return float(rm.target_rank(np.array([scores]), np.array([target]), [np.array(seen, dtype=np.int64)])[0])


def test_rank_by_hand() -> None:
    scores = np.array([[99.0, 0.1, 0.4, 0.3, 0.2], [99.0, 0.1, 0.4, 0.3, 0.2]])
    ranks = rm.target_rank(scores, np.array([3, 1]), [NOTHING, NOTHING])
    np.testing.assert_array_equal(ranks, [2.0, 4.0])


def test_seen_items_leave_the_ranking() -> None:
    scores = [0.0, 0.1, 0.4, 0.3, 0.2]
    assert one_rank(scores, target=1, seen=[]) == 4
    assert one_rank(scores, target=1, seen=[2, 3]) == 2


def test_a_seen_target_is_on_no_list_and_a_miss_in_every_metric() -> None:
    rank = one_rank([0.0, 0.9, 0.4, 0.3, 0.2], target=1, seen=[1, 2, 3, 2])
    assert rank == np.inf
    for metric in (rm.hit_ratio(np.array([rank]), 10**9), rm.ndcg(np.array([rank]), 10**9)):
        assert metric.tolist() == [0.0]
    assert rm.reciprocal_rank(np.array([rank])).tolist() == [0.0]


def test_mask_and_lists_agree() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(5, 9))
    lists = [generator.choice(np.arange(1, 9), size=n, replace=False) for n in range(5)]
    mask = rm.seen_mask(lists, 9)
    assert mask.sum() == 10
    targets = np.array([1, 2, 3, 4, 5])
    np.testing.assert_array_equal(rm.target_rank(scores, targets, mask), rm.target_rank(scores, targets, lists))


def test_a_constant_scorer_stands_in_the_middle() -> None:
    assert one_rank([0.0] * 11, target=4, seen=[]) == 5.5
    assert one_rank([0.0] * 11, target=10, seen=[1]) == 5.0


def test_infinite_scores_are_ranked() -> None:
    assert one_rank([0.0, -np.inf, -np.inf, 1.0], target=1, seen=[]) == 2.5
    assert one_rank([0.0, np.inf, 3.0, 1.0], target=2, seen=[]) == 2.0


def test_nan_is_an_error_except_in_the_padding_column() -> None:
    assert one_rank([np.nan, 1.0, 2.0], target=1, seen=[]) == 2
    with pytest.raises(FedMemError, match=r"item 2 .* NaN"):
        one_rank([0.0, 1.0, np.nan], target=1, seen=[])


@given(st.data())
def test_the_middle_rank_is_the_mean_over_all_tie_breaking_orders(data: st.DataObject) -> None:
    num_items = data.draw(st.integers(1, 6))
    scores = data.draw(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=num_items, max_size=num_items))
    target = data.draw(st.integers(1, num_items))
    seen = data.draw(st.lists(st.integers(1, num_items).filter(lambda item: item != target)))
    candidates = [item for item in range(1, num_items + 1) if item not in seen]
    ranks = [
        1 + sorted(order, key=lambda item: -scores[item - 1]).index(target)
        for order in itertools.permutations(candidates)
    ]
    assert one_rank([7.0, *scores], target, seen) == pytest.approx(np.mean(ranks))


def test_hit_ratio_takes_the_fractional_rank_as_it_stands() -> None:
    np.testing.assert_array_equal(rm.hit_ratio(np.array([1.0, 10.0, 10.5, 11.0]), 10), [1, 1, 0, 0])


def test_ndcg_by_hand() -> None:
    values = rm.ndcg(np.array([1.0, 2.0, 3.0, 4.0, 2.5]), 3)
    np.testing.assert_allclose(values, [1.0, 0.6309297535714575, 0.5, 0.0, 1 / np.log2(3.5)])


def test_reciprocal_rank_by_hand() -> None:
    np.testing.assert_allclose(rm.reciprocal_rank(np.array([1.0, 2.0, 2.5, 100.0])), [1.0, 0.5, 0.4, 0.01])


def test_standard_error_by_hand() -> None:
    assert rm.standard_error(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(np.sqrt(5 / 3) / 2)
    assert np.isnan(rm.standard_error(np.array([1.0])))


def test_catalogue_coverage_does_not_count_padding() -> None:
    assert rm.catalogue_coverage(np.array([[1, 2, 0], [2, 5, 1]]), num_items=10) == pytest.approx(0.3)


def test_intra_list_diversity_by_hand() -> None:
    vectors = np.array([[9.0, 9.0], [1.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [0.0, 0.0]])
    assert rm.intra_list_diversity(np.array([[1, 2]]), vectors) == pytest.approx(1.0)
    assert rm.intra_list_diversity(np.array([[1, 3]]), vectors) == pytest.approx(2.0)
    assert rm.intra_list_diversity(np.array([[1, 2, 3]]), vectors) == pytest.approx((1 + 1 + 2) / 3)
    assert rm.intra_list_diversity(np.array([[1, 2, 3], [1, 1, 0]]), vectors) == pytest.approx((4 / 3 + 0) / 2)


def test_items_without_a_vector_take_no_part_in_diversity() -> None:
    vectors = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    assert rm.intra_list_diversity(np.array([[1, 2, 3], [1, 3, 0]]), vectors) == pytest.approx(1.0)
    assert np.isnan(rm.intra_list_diversity(np.array([[1, 3, 0]]), vectors))


def test_long_tail_share_by_hand() -> None:
    counts = np.array([0, 1, 50, 3, 2, 9])  # the head of five items at 20 % is item 2 alone
    assert rm.long_tail_share(np.array([[2, 3], [1, 4]]), counts) == pytest.approx(0.75)
    assert rm.long_tail_share(np.array([[2, 5, 0], [2, 1, 0]]), counts, head_share=0.4) == pytest.approx(0.25)
    assert np.isnan(rm.long_tail_share(np.zeros((1, 3), dtype=np.int64), counts))
