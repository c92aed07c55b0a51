"""Cold start: who is asked, with how much input, and that nothing of them was learned."""

from collections.abc import Sequence

import numpy as np
import pytest

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import DataError
from fedmem.evaluation.baselines import ItemItemCounts, Popularity
from fedmem.evaluation.cold_start import evaluate_cold_start, measured_interactions, users_who_never_trained
from fedmem.evaluation.evaluate import Scores
from fedmem.evaluation.ranking_metrics import IntArray


class InputLengths:
    """Constant scores; remembers the inputs."""

    def __init__(self, num_items: int) -> None:
        self.num_items = num_items
        self.seen: list[tuple[int, list[int]]] = []

    def score(self, users: IntArray, histories: Sequence[IntArray]) -> Scores:
        self.seen += [(user, history.tolist()) for user, history in zip(users.tolist(), histories, strict=True)]
        return np.zeros((len(users), self.num_items + 1))


def test_inputs_are_the_most_recent_before_the_last(chains: FederatedDataset) -> None:
    scorer = InputLengths(40)
    evaluate_cold_start(chains, {"constant": scorer}, interactions=(0, 2, 5))
    users = chains.cold_users.tolist()
    assert len(users) == 10
    assert scorer.seen == [
        (user, chains.history(user)[:-1][len(chains.history(user)) - 1 - n :].tolist())
        for n in (0, 2, 5)
        for user in users
    ]


def test_rows_are_comparable(chains: FederatedDataset) -> None:
    calls: list[tuple[int, int]] = []
    scorers = {"popularity": Popularity(chains), "counts": ItemItemCounts(chains)}
    rows = evaluate_cold_start(chains, scorers, (0, 1), [5], progress=lambda *call: calls.append(call))
    assert [row.label for row in rows] == ["popularity, n = 0", "popularity, n = 1", "counts, n = 0", "counts, n = 1"]
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(np.array_equal(row.table.users, chains.cold_users) for row in rows)
    assert rows[0].table.values == rows[1].table.values == rows[2].table.values
    assert rows[3].table.mean("HR@5") > rows[2].table.mean("HR@5")


def test_users_too_short_for_the_longest_input_are_in_no_row() -> None:
    sequences = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]]
    whole = FederatedDataset.from_sequences(sequences, 6)
    dataset = whole.with_cold_users(0.99, np.random.default_rng(0))
    assert dataset.cold_users.tolist() == [0, 1, 2]
    assert users_who_never_trained(dataset, (0, 5)).tolist() == [1, 2]
    assert users_who_never_trained(dataset, (0, 3)).tolist() == [0, 1, 2]


def test_without_cold_users_the_error_says_what_to_set() -> None:
    dataset = FederatedDataset.from_sequences([[1, 2, 3, 4, 5, 6]], 6)
    with pytest.raises(DataError, match=r"data\.cold_user_fraction"):
        evaluate_cold_start(dataset, {"popularity": Popularity(dataset)})


def test_an_input_that_most_users_are_too_short_for_is_not_asked_for() -> None:
    sequences = [list(range(1, length + 1)) for length in (6, 6, 12, 12)]
    dataset = FederatedDataset.from_sequences(sequences, 20).with_cold_users(0.99, np.random.default_rng(0))
    assert measured_interactions(dataset) == (0, 1, 2, 3, 5, 10)
    shorter = FederatedDataset.from_sequences([sequences[0], *sequences[:3]], 20)
    dataset = shorter.with_cold_users(0.99, np.random.default_rng(0))
    assert measured_interactions(dataset) == (0, 1, 2, 3, 5)
