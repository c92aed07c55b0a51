"""Non-IID clients: metrics of thirds of the users, by how active they are and by how unlike others their taste is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.evaluation.metric_table import MetricSums, MetricTable, Moments, metric_values
from fedmem.evaluation.ranking_metrics import FloatArray, IntArray

ACTIVITY = ("few interactions", "middle", "many")
TASTE = ("like others", "middle", "unlike others")
TENTHS = 10  # of the catalogue by popularity, which stand for genres where items have none

Groups = Mapping[str, Mapping[str, npt.NDArray[np.bool_]]]


def client_groups(dataset: FederatedDataset, users: IntArray) -> Groups:
    """Divide users into thirds by each criterion: which of ``users`` [B] belong to a third, by criterion and third.

    ``activity`` is the length of the training history. ``taste`` is the total variation distance between a user's
    shares of genres and all users' (of tenths of the catalogue by popularity, where under half of the items have
    genres): 0 is the average client, 1 has nothing in common with it.
    """
    kinds = _kinds(dataset)
    shares = np.array([_shares(kinds, dataset.training_history(user)) for user in users.tolist()])
    unlike = np.abs(shares - shares.mean(0)).sum(1) / 2
    lengths = np.array([len(dataset.training_history(user)) for user in users.tolist()])
    return {"activity": _thirds(lengths, ACTIVITY), "taste": _thirds(unlike, TASTE)}


def group_tables(table: MetricTable, groups: Groups) -> dict[str, dict[str, MetricTable]]:
    """Measure a table's users again by group; groups without users are left out."""
    return {
        criterion: {third: _part(table, members) for third, members in thirds.items() if members.any()}
        for criterion, thirds in groups.items()
    }


def _part(table: MetricTable, members: npt.NDArray[np.bool_]) -> MetricTable:
    ranks = table.ranks[members]
    sums = MetricSums({name: Moments.of(metric_values(name, ranks)) for name in table.values})
    return replace(sums.table(), users=table.users[members], ranks=ranks)


def _thirds(values: FloatArray | IntArray, names: Sequence[str]) -> dict[str, npt.NDArray[np.bool_]]:
    """Divide by value into thirds of the same size but for one, equal values by their order."""
    order = np.argsort(values, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) * len(names) // max(len(order), 1)
    return {name: place == third for third, name in enumerate(names)}


def _kinds(dataset: FederatedDataset) -> FloatArray:
    """Say how each item is divided among kinds [I + 1, kinds], each row a sum of 1, or of 0 where it is of none."""
    genres = sorted({genre for item in dataset.items for genre in item.genres})
    kinds = np.zeros((dataset.num_items + 1, len(genres) or 1))
    for index, item in enumerate(dataset.items, 1):
        kinds[index, [genres.index(genre) for genre in item.genres]] = 1 / max(len(item.genres), 1)
    if 2 * np.count_nonzero(kinds.sum(1)) >= dataset.num_items:
        return kinds
    order = np.argsort(-dataset.training_popularity()[1:], kind="stable")
    tenths = np.zeros((dataset.num_items + 1, TENTHS))
    tenths[1 + order, np.arange(dataset.num_items) * TENTHS // dataset.num_items] = 1
    return tenths


def _shares(kinds: FloatArray, history: npt.NDArray[np.integer]) -> FloatArray:
    total = kinds[history].sum(0)
    shares: FloatArray = total / max(total.sum(), 1e-12)
    return shares
