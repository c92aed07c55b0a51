"""Thirds of the users by activity and taste, and their metrics."""

from dataclasses import replace

import numpy as np
import pytest

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.evaluation.baselines import Popularity
from fedmem.evaluation.client_groups import ACTIVITY, TASTE, client_groups, group_tables
from fedmem.evaluation.evaluate import evaluate
from tests.tiny import tiny_dataset


def of_genres(genres: dict[int, tuple[str, ...]], sequences: list[list[int]], num_items: int) -> FederatedDataset:
    dataset = FederatedDataset.from_sequences(sequences, num_items)
    return replace(
        dataset, items=tuple(replace(item, genres=genres.get(i, ())) for i, item in enumerate(dataset.items, 1))
    )


def test_every_user_is_in_one_third_of_each_criterion():
    dataset = tiny_dataset(num_users=10)
    groups = client_groups(dataset, dataset.evaluated_users)
    assert groups.keys() == {"activity", "taste"}
    for thirds, names in zip(groups.values(), (ACTIVITY, TASTE), strict=True):
        assert tuple(thirds) == names
        assert (np.sum(list(thirds.values()), axis=0) == 1).all()
        assert {int(members.sum()) for members in thirds.values()} == {3, 4}


def test_the_third_of_high_activity_has_the_longest_histories():
    dataset = tiny_dataset(num_users=9)
    users = dataset.evaluated_users
    activity = client_groups(dataset, users)["activity"]
    lengths = dataset.lengths[users]
    assert lengths[activity["few interactions"]].max() <= lengths[activity["middle"]].min()
    assert lengths[activity["middle"]].max() <= lengths[activity["many"]].min()


def test_taste_is_how_unlike_the_others_genres_are():
    comedy, horror = [1, 2, 3, 4, 5], [6, 7, 8, 9, 10]
    genres = dict.fromkeys(comedy, ("comedy",)) | dict.fromkeys(horror, ("horror",))
    dataset = of_genres(genres, [comedy, comedy, horror, comedy[::-1], comedy[1:] + comedy[:1], comedy], 10)
    taste = client_groups(dataset, dataset.evaluated_users)["taste"]
    assert taste["unlike others"][2]


@pytest.mark.parametrize("described", [0, 4], ids=["none", "under half"])
def test_where_few_items_have_genres_popularity_stands_for_them(described):
    popular, rare = [1, 2, 3, 4, 5], [6, 7, 8, 9, 10]
    genres = dict.fromkeys(range(1, described + 1), ("one",))
    dataset = of_genres(genres, [popular, popular, popular, popular, popular, rare], 10)
    taste = client_groups(dataset, dataset.evaluated_users)["taste"]
    assert taste["unlike others"][5]


def test_the_groups_add_up_to_the_table():
    dataset = tiny_dataset(num_users=10)
    table = evaluate(dataset, Popularity(dataset), "test")
    for thirds in group_tables(table, client_groups(dataset, table.users)).values():
        found = sum(part.mean("NDCG@10") * part.num_users for part in thirds.values())
        assert found == pytest.approx(table.mean("NDCG@10") * table.num_users)


def test_two_users_make_two_groups():
    dataset = tiny_dataset(num_users=2)
    table = evaluate(dataset, Popularity(dataset), "test")
    assert all(len(thirds) == 2 for thirds in group_tables(table, client_groups(dataset, table.users)).values())
