"""New items: what is left without them, how they are ranked among themselves, and the regressions to beat."""

import numpy as np
import pytest

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Interactions, Item
from fedmem.errors import ConfigError, DataError
from fedmem.evaluation.cold_items import evaluate_new_items, hold_out_items, ndcg_of_sets
from fedmem.evaluation.new_item_baselines import Chance, UserRidge, genres_of

GENRES = ("Comedy", "Drama", "War")


def films(users: int = 12, items: int = 30, length: int = 10) -> FederatedDataset:
    """Each user takes films of one genre alone."""
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user}", str(item), float(place))
        for user in range(users)
        for place, item in enumerate(rng.permutation(np.arange(user % 3, items, 3))[:length])
    ]
    names, ids, times = zip(*rows, strict=True)
    catalogue = [Item(str(item), genres=(GENRES[item % 3],)) for item in range(items)]
    columns = np.array(names, object), np.array(ids, object), np.array(times)
    return FederatedDataset.from_interactions(Interactions(*columns), catalogue)


def test_what_is_left_is_the_data_without_the_items_and_users_keep_their_place():
    whole = films()
    held_out = hold_out_items(whole, 0.2, np.random.default_rng(1))
    left, drawn = held_out.dataset, {item.item_id for item in held_out.items}
    assert (len(drawn), left.num_items) == (6, 24)
    assert left.vocabulary.users == whole.vocabulary.users
    assert left.digest != whole.digest
    for user in range(whole.num_users):
        before = [whole.items[item - 1].item_id for item in whole.history(user)]
        after = [left.items[item - 1].item_id for item in left.history(user)]
        assert after == [item for item in before if item not in drawn]
    for user, taken in zip(held_out.users.tolist(), held_out.taken, strict=True):
        before = {whole.items[item - 1].item_id for item in whole.history(user)}
        assert [item.item_id in before for item in held_out.items] == taken.tolist()
        assert taken.any()


def test_the_draw_is_that_of_its_seed():
    first, again, other = (hold_out_items(films(), 0.2, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.items == again.items != other.items
    assert first.dataset.digest == again.dataset.digest


def test_only_users_who_are_trained_on_are_kept():
    held_out = hold_out_items(films(), 0.2, np.random.default_rng(1))
    some = held_out.among(held_out.users[:2])
    assert some.users.tolist() == held_out.users[:2].tolist()
    assert np.array_equal(some.taken, held_out.taken[:2])


@pytest.mark.parametrize("share", [-0.1, 0.0, 0.001, 1.0, float("nan")])
def test_a_share_that_is_no_item_or_all_is_refused(share):
    with pytest.raises(ConfigError, match="cannot be held out"):
        hold_out_items(films(), share, np.random.default_rng(1))


def test_items_that_no_user_took_are_refused():
    whole = FederatedDataset.from_sequences([[1, 2, 3, 4, 5, 6]] * 4, 1000)
    with pytest.raises(DataError, match="no user of"):
        hold_out_items(whole, 0.002, np.random.default_rng(3))


def test_the_best_order_is_1_and_ties_share_their_places():
    taken = np.array([[True, False, True, False]])
    assert ndcg_of_sets(np.array([[4.0, 1.0, 3.0, 2.0]]), taken) == pytest.approx(1)
    discounts = 1 / np.log2(np.arange(4) + 2)
    best = discounts[:2].sum()
    assert ndcg_of_sets(np.array([[1.0, 4.0, 3.0, 2.0]]), taken) == pytest.approx((discounts[1] + discounts[3]) / best)
    assert ndcg_of_sets(np.zeros((1, 4)), taken) == pytest.approx(2 * discounts.mean() / best)
    assert ndcg_of_sets(np.array([[3.0, 3.0, 2.0, 1.0]]), taken) == pytest.approx(
        (discounts[:2].mean() + discounts[2]) / best
    )
    cut = ndcg_of_sets(np.array([[1.0, 4.0, 3.0, 2.0]]), taken, k=2)
    assert cut == pytest.approx(discounts[1] / best)


def test_a_regression_on_genres_finds_new_films_of_the_genre_that_a_user_takes():
    held_out = hold_out_items(films(), 0.3, np.random.default_rng(1))
    by_genre = UserRidge(held_out.dataset, genres_of(held_out.dataset), 1.0)
    assert evaluate_new_items(held_out, by_genre).min() > 0.9
    assert evaluate_new_items(held_out, Chance()).mean() < 0.8


def test_the_regression_is_that_of_the_formula():
    whole = films()
    described = genres_of(whole)(whole.items)
    taken = np.zeros(whole.num_items)
    taken[whole.history(0) - 1] = 1
    weights = np.linalg.inv(described.T @ described + 7 * np.eye(3)) @ described.T @ taken
    new = [Item("new", genres=("Drama", "War")), Item("none")]
    found = UserRidge(whole, genres_of(whole), 7.0).score_new(np.array([0]), new)
    known = sorted(GENRES)
    assert found == pytest.approx(np.array([[weights[known.index("Drama")] + weights[known.index("War")], 0.0]]))
