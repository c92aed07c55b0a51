"""Sums that add up to the table over all users, and the table's own rules."""

import json
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.errors import ConfigError, DataError
from fedmem.evaluation.metric_table import MetricSums, MetricTable, metric_names, paired_difference
from fedmem.evaluation.ranking_metrics import ndcg, standard_error


def table_of(ranks: list[float]) -> MetricTable:
    return MetricTable({}, len(ranks), users=np.arange(len(ranks)), ranks=np.array(ranks))


def test_names_are_in_table_order() -> None:
    assert metric_names([5, 10], ["HR", "NDCG", "MRR"]) == ["HR@5", "HR@10", "NDCG@5", "NDCG@10", "MRR"]


@given(st.lists(st.integers(2, 80).map(lambda doubled: doubled / 2), min_size=2, max_size=30))
def test_clients_sums_give_the_mean_and_error_of_all_users(ranks: list[float]) -> None:
    table = reduce(add, [MetricSums.of(np.array([rank])) for rank in ranks]).table()
    values = ndcg(np.array(ranks), 10)
    assert table.num_users == len(ranks)
    assert table.mean("NDCG@10") == pytest.approx(values.mean(), abs=1e-12)
    assert table.standard_error("NDCG@10") == pytest.approx(standard_error(values), abs=1e-7)


def test_one_user_has_no_standard_error_and_json_says_null() -> None:
    record = MetricSums.of(np.array([2.0]), [5], ["HR"]).table().to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == {
        "num_users": 1,
        "metrics": {"HR@5": {"mean": 1.0, "standard_error": None}},
    }


def test_no_user_is_an_error() -> None:
    with pytest.raises(DataError, match="no user was evaluated"):
        MetricSums.of(np.zeros(0)).table()


@pytest.mark.parametrize("name", ["RECALL@10", "HR@0", "HR", "NDCG@ten", "MRR@5"])
def test_an_unknown_metric_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        table_of([1.0]).per_user(name)


def test_asking_for_what_was_not_measured_names_what_was() -> None:
    with pytest.raises(ConfigError, match=r"'HR@7' .* HR@5"):
        MetricSums.of(np.array([1.0]), [5], ["HR"]).table().mean("HR@7")


def test_paired_difference_by_hand() -> None:
    mean, error = paired_difference(table_of([1.0, 2.0, 4.0]), table_of([2.0, 2.0, 2.0]), "MRR")
    assert mean == pytest.approx((0.5 + 0 - 0.25) / 3)
    assert error == pytest.approx(np.std([0.5, 0, -0.25], ddof=1) / np.sqrt(3))


def test_paired_difference_needs_the_same_users() -> None:
    with pytest.raises(DataError, match="the same users"):
        paired_difference(table_of([1.0, 2.0]), table_of([1.0]), "MRR")
