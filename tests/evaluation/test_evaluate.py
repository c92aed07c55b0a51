"""The protocol: what is given to the scorer, what is hidden, who is evaluated."""

from collections.abc import Sequence

import numpy as np
import pytest

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import ConfigError, DataError
from fedmem.evaluation.evaluate import Scores, Split, evaluate, recommended_lists
from fedmem.evaluation.ranking_metrics import IntArray


class Recorder:
    """Prefers items of small index and keeps what it was given."""

    def __init__(self, num_items: int) -> None:
        self.num_items = num_items
        self.histories: dict[int, list[int]] = {}

    def score(self, users: IntArray, histories: Sequence[IntArray]) -> Scores:
        self.histories |= {user: history.tolist() for user, history in zip(users.tolist(), histories, strict=True)}
        return np.tile(-np.arange(self.num_items + 1.0), (len(users), 1))


@pytest.fixture
def two_users() -> FederatedDataset:
    return FederatedDataset.from_sequences([[1, 2, 3, 8, 9], [6, 5, 4, 3, 1], [2, 1]], 10)


@pytest.mark.parametrize(
    ("split", "histories", "ranks"),
    [
        # User 0 knows 1, 2, 3 and is asked for 8: 4, 5, 6, 7 come before it. User 1 knows 6, 5, 4: 1, 2 before 3.
        ("validation", {0: [1, 2, 3], 1: [6, 5, 4]}, [5.0, 3.0]),
        ("test", {0: [1, 2, 3, 8], 1: [6, 5, 4, 3]}, [5.0, 1.0]),
    ],
)
def test_full_ranking_by_hand(
    two_users: FederatedDataset, split: Split, histories: dict[int, list[int]], ranks: list[float]
) -> None:
    scorer = Recorder(10)
    table = evaluate(two_users, scorer, split)
    assert scorer.histories == histories
    np.testing.assert_array_equal(table.ranks, ranks)
    np.testing.assert_array_equal(table.users, [0, 1])
    assert table.mean("MRR") == pytest.approx(np.mean(1 / np.array(ranks)))
    assert table.num_users == 2


@pytest.mark.parametrize(("interactions", "given"), [(0, []), (1, [8]), (3, [2, 3, 8]), (9, [1, 2, 3, 8])])
def test_a_short_input_hides_the_whole_prefix(two_users: FederatedDataset, interactions: int, given: list[int]) -> None:
    scorer = Recorder(10)
    table = evaluate(two_users, scorer, "test", interactions=interactions)
    assert scorer.histories[0] == given
    np.testing.assert_array_equal(table.ranks, [5.0, 1.0])


def test_users_may_be_short_if_they_have_the_target(two_users: FederatedDataset) -> None:
    scorer = Recorder(10)
    table = evaluate(two_users, scorer, "test", users=np.array([2]))
    assert scorer.histories == {2: [2]}
    assert table.ranks.tolist() == [1.0]


def test_a_user_without_a_target_is_named() -> None:
    dataset = FederatedDataset.from_sequences([[1], [1, 2, 3, 4, 5]], 10)
    with pytest.raises(DataError, match="user '0' has 1 interactions and so no validation target"):
        evaluate(dataset, Recorder(10), "validation", users=np.array([0]))


def test_no_user_to_evaluate_is_an_error() -> None:
    with pytest.raises(DataError, match="no user"):
        evaluate(FederatedDataset.from_sequences([[1, 2]], 2), Recorder(2), "test")


def test_negative_interactions_are_an_error(two_users: FederatedDataset) -> None:
    with pytest.raises(ConfigError, match="-1"):
        evaluate(two_users, Recorder(10), "test", interactions=-1)


def test_the_batch_size_does_not_matter_and_progress_counts_users(chains: FederatedDataset) -> None:
    calls: list[tuple[int, int]] = []
    whole = evaluate(chains, Recorder(40), "test")
    pieces = evaluate(chains, Recorder(40), "test", batch_size=7, progress=lambda *call: calls.append(call))
    assert pieces.values == whole.values
    assert calls == [(done, 50) for done in [7, 14, 21, 28, 35, 42, 49, 50]]


def test_recommended_lists_hide_what_is_known_and_pad_what_is_missing(two_users: FederatedDataset) -> None:
    lists = recommended_lists(two_users, Recorder(10), "test", 7, batch_size=1)
    np.testing.assert_array_equal(lists, [[4, 5, 6, 7, 9, 10, 0], [1, 2, 7, 8, 9, 10, 0]])


def test_the_target_is_in_the_list_exactly_where_its_rank_says(chains: FederatedDataset) -> None:
    table = evaluate(chains, Recorder(40), "validation")
    lists = recommended_lists(chains, Recorder(40), "validation", 40)
    targets = [chains.validation_target(user) for user in table.users.tolist()]
    known = [set(chains.validation_input(user).tolist()) for user in table.users.tolist()]
    rows = [row for row, target in enumerate(targets) if target not in known[row]]
    assert len(rows) > 30
    assert [lists[row].tolist().index(targets[row]) + 1 for row in rows] == table.ranks[rows].tolist()
