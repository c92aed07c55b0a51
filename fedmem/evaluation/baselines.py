"""What any model has to beat: chance, popularity, item-item transition counts and EASE with recency.

All learn from training histories alone, see users by the history handed in, and score an empty one by popularity.
Hyperparameters were chosen by the best product of validation NDCG@10 on ML-100K (all users) and ML-1M (2,000 users).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import DataError
from fedmem.evaluation.evaluate import Scores, Split, chosen_users, hidden_items, target_item
from fedmem.evaluation.metric_table import (
    K_LIST,
    METRICS,
    MetricSums,
    MetricTable,
    Moments,
    metric_names,
    metric_values,
)
from fedmem.evaluation.ranking_metrics import FloatArray, IntArray

Float32Array = npt.NDArray[np.float32]

EASE_MAX_ITEMS = 20_000


def chance(
    dataset: FederatedDataset,
    split: Split,
    *,
    k_list: Sequence[int] = K_LIST,
    metrics: Sequence[str] = METRICS,
    users: IntArray | None = None,
) -> MetricTable:
    """Compute the exact expectation of a uniformly random ranking, no draw and no ties: rank uniform on 1..C per user.

    C = I − |items not offered|; E[HR@k] = min(k / C, 1), the others likewise (1/C)·Σ_{r≤C} metric(r), and all 0 where
    the target is not offered.
    The standard error is that of one random ranking, so that a measured figure can be held against it. A scorer of
    constants would not do: its middle rank is never a hit.
    """
    chosen = chosen_users(dataset, split, users)
    hidden = [set(hidden_items(dataset, user, split).tolist()) for user in chosen.tolist()]
    # Users whose target is among them add nothing to the sums.
    candidates = np.array(
        [
            dataset.num_items - len(items)
            for user, items in zip(chosen.tolist(), hidden, strict=True)
            if target_item(dataset, user, split) not in items
        ],
        dtype=np.int64,
    )
    ranks = np.arange(1, dataset.num_items + 1, dtype=np.float64)
    values = {name: metric_values(name, ranks) for name in metric_names(k_list, metrics)}

    def expected(value: FloatArray) -> float:
        return float(_running_mean(value)[candidates - 1].sum())

    sums = {name: Moments(expected(value), expected(value**2), len(chosen)) for name, value in values.items()}
    return replace(MetricSums(sums).table(), users=chosen)


def _running_mean(values: FloatArray) -> FloatArray:
    return np.cumsum(values) / np.arange(1, len(values) + 1)


def recency_weights(length: int, power: float) -> Float32Array:
    """Weight a history's items, oldest first, by (1 + age)^(−power); the most recent has age 0 and weight 1."""
    return (np.arange(length, 0, -1, dtype=np.float64) ** -power).astype(np.float32)


class Popularity:
    """s(u, i) = number of training interactions of i, the same for every user."""

    def __init__(self, dataset: FederatedDataset) -> None:
        self.counts: Float32Array = dataset.training_popularity().astype(np.float32)  # [I+1]

    def score(self, users: IntArray, histories: Sequence[IntArray]) -> Scores:
        """Return the counts [B, I+1]."""
        return np.tile(self.counts, (len(users), 1))


class ItemItemCounts:
    """Transition counts: s(u, j) = Σ_{i in history} (1 + age_i)^(−p) · c_ij / (n_i^a · n_j^b).

    c_ij = Σ 1/distance over the ordered pairs i before j at most ``window`` steps apart in a training history, n_i the
    training interactions of i. Rows are stored sparsely.
    """

    def __init__(
        self,
        dataset: FederatedDataset,
        *,
        window: int = 10,
        # Best of p in {.75, 1, 1.25, 1.5} and of p^age, a in {0, .5, .75, 1}, b in {0, .1, .2, .3, .4}, on validation.
        recency_power: float = 1.0,
        source_power: float = 0.5,
        target_power: float = 0.3,
    ) -> None:
        self.recency_power = recency_power
        self.popularity = Popularity(dataset)
        counts = np.maximum(self.popularity.counts, 1.0)
        sources, self.targets, values = _transitions(dataset, window)
        self.values = (values / counts[sources] ** source_power / counts[self.targets] ** target_power).astype(
            np.float32
        )
        self.row_starts = np.searchsorted(sources, np.arange(dataset.num_items + 2))

    def score(self, users: IntArray, histories: Sequence[IntArray]) -> Scores:
        """Return the scores [B, I+1]."""
        scores = self.popularity.score(users, histories)
        for row, history in enumerate(histories):
            if len(history):
                scores[row] = self._score_one(history)
        return scores

    def _score_one(self, history: IntArray) -> Float32Array:
        scores = np.zeros(len(self.row_starts) - 1, dtype=np.float32)
        for item, weight in zip(history.tolist(), recency_weights(len(history), self.recency_power), strict=True):
            row = slice(self.row_starts[item], self.row_starts[item + 1])
            scores[self.targets[row]] += weight * self.values[row]  # a row names each target once
        return scores


def _transitions(dataset: FederatedDataset, window: int) -> tuple[IntArray, IntArray, FloatArray]:
    """Sum 1/distance over the ordered pairs within the window: sources, targets, sums, sorted by (source, target)."""
    owners, items = _training_interactions(dataset)
    width = dataset.num_items + 1
    keys, weights = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for distance in range(1, min(window, len(items) - 1) + 1):
        same_user = owners[distance:] == owners[:-distance]
        keys.append(items[:-distance][same_user] * width + items[distance:][same_user])
        weights.append(np.full(len(keys[-1]), 1.0 / distance))
    pairs, positions = np.unique(np.concatenate(keys), return_inverse=True)
    sums: FloatArray = np.bincount(positions, weights=np.concatenate(weights), minlength=len(pairs)).astype(np.float64)
    return pairs // width, pairs % width, sums


def _training_interactions(dataset: FederatedDataset) -> tuple[IntArray, IntArray]:
    """Return user and item of every training interaction, users one after the other, each in time order."""
    histories = [dataset.training_history(user) for user in dataset.trainable_users.tolist()]
    if not histories:
        raise DataError(f"{dataset.name!r} has no user to train on; lower data.min_sequence_length")
    owners = np.repeat(dataset.trainable_users, [len(history) for history in histories])
    return owners, np.concatenate(histories).astype(np.int64)


class EASE:
    """EASE with recency: s(u, ·) = x_u B, x_ui = Σ (1 + age)^(−p) over the history, B = I − P·diagMat(1 ⊘ diag P).

    P = (XᵀX + λI)⁻¹ with X [U, I] binary over training histories (Steck 2019, Embarrassingly shallow autoencoders for
    sparse data, equation 8). Needs [I, I] in memory; ``DataError`` above ``EASE_MAX_ITEMS`` items.
    """

    def __init__(
        self,
        dataset: FederatedDataset,
        *,
        # Best of λ in {300, 500, 1000, 2000} and p in {.5, .75, 1, 1.25, 1.5} and of p^age, on validation.
        regularisation: float = 500.0,
        recency_power: float = 0.75,
    ) -> None:
        if dataset.num_items > EASE_MAX_ITEMS:
            raise DataError(
                f"EASE inverts an items × items matrix and {dataset.name!r} has {dataset.num_items} items, above its "
                f"limit of {EASE_MAX_ITEMS}: leave EASE out of the table for this catalogue"
            )
        self.recency_power = recency_power
        self.popularity = Popularity(dataset)
        self.weights = _ease_weights(_co_occurrences(dataset), regularisation)  # [I+1, I+1]

    def score(self, users: IntArray, histories: Sequence[IntArray]) -> Scores:
        """Return the scores [B, I+1]."""
        inputs = np.zeros((len(users), len(self.weights)), dtype=np.float32)
        for row, history in enumerate(histories):
            np.add.at(inputs[row], history, recency_weights(len(history), self.recency_power))
        empty = np.array([len(history) == 0 for history in histories])
        return np.where(empty[:, None], self.popularity.counts, inputs @ self.weights)


def _co_occurrences(dataset: FederatedDataset) -> FloatArray:
    """Compute XᵀX [I, I] without the padding; exact, as float32 counts integers up to 2²⁴."""
    owners, items = _training_interactions(dataset)
    rows = np.searchsorted(dataset.trainable_users, owners)
    total = np.zeros((dataset.num_items, dataset.num_items), dtype=np.float32)
    step = 1024
    for start in range(0, len(dataset.trainable_users), step):
        block = (rows >= start) & (rows < start + step)
        watched = np.zeros((step, dataset.num_items), dtype=np.float32)  # [B, I]
        watched[rows[block] - start, items[block] - 1] = 1.0
        total += watched.T @ watched
    return total.astype(np.float64)


def _ease_weights(gram: FloatArray, regularisation: float) -> Float32Array:
    """Compute B [I+1, I+1] with a zero diagonal and zeros for the padding."""
    precision = np.linalg.inv(gram + regularisation * np.eye(len(gram)))
    weights = np.zeros((len(gram) + 1, len(gram) + 1), dtype=np.float32)
    weights[1:, 1:] = precision / -np.diag(precision)
    np.fill_diagonal(weights, 0.0)
    return weights
