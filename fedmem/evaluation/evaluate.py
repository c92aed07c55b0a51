"""Full-ranking evaluation of anything that scores a history against the whole catalogue."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import ConfigError, DataError
from fedmem.evaluation.metric_table import K_LIST, METRICS, MetricSums, MetricTable
from fedmem.evaluation.ranking_metrics import FloatArray, IntArray, Seen, seen_mask, target_rank

Split = Literal["validation", "test"]
Scores = npt.NDArray[np.floating[Any]]
Progress = Callable[[int, int], None]

BATCH_SIZE = 256
_SHORTEST = {"validation": 2, "test": 1}


class Scorer(Protocol):
    """Scores every item for a batch of users from the histories handed in, and from nothing later than those."""

    def score(self, users: IntArray, histories: Sequence[IntArray]) -> Scores:
        """Return scores [B, I+1], greater is better, for ``users`` [B] and their ``histories`` of item indices.

        A history is oldest first and may be empty. Column 0 is padding and never read.
        """
        ...


class SeveralScorers(Protocol):
    """Scores as a ``Scorer`` does, in several ways that share most of their work."""

    def scores(self, users: IntArray, histories: Sequence[IntArray]) -> Iterable[Scores]:
        """Return the scores of each way, in their order."""
        ...


@dataclass(frozen=True)
class _OneWay:
    scorer: Scorer

    def scores(self, users: IntArray, histories: Sequence[IntArray]) -> Iterable[Scores]:
        yield self.scorer.score(users, histories)


def known_prefix(dataset: FederatedDataset, user: int, split: Split) -> IntArray:
    """Return what is known of a user when the split's target is predicted: all items before it, oldest first."""
    return dataset.validation_input(user) if split == "validation" else dataset.test_input(user)


def hidden_items(dataset: FederatedDataset, user: int, split: Split) -> IntArray:
    """Return what a user's ranking leaves out, as in serving: the known items, or none if repeats count."""
    known = known_prefix(dataset, user, split)
    return known if dataset.repeats == "hide" else known[:0]


def repeated_targets(dataset: FederatedDataset, split: Split, users: IntArray | None = None) -> float:
    """Share of the users whose target is in their known prefix: what ``data.repeats`` decides about."""
    chosen = chosen_users(dataset, split, users).tolist()
    return sum(target_item(dataset, user, split) in known_prefix(dataset, user, split) for user in chosen) / len(chosen)


def repeated_shares(dataset: FederatedDataset) -> dict[Split, float]:
    """Compute ``repeated_targets`` of both splits; nothing of a catalogue without users."""
    if not len(dataset.evaluated_users):
        return {}
    splits: tuple[Split, ...] = ("validation", "test")
    return {split: repeated_targets(dataset, split) for split in splits}


def target_item(dataset: FederatedDataset, user: int, split: Split) -> int:
    """Return the item index to predict: the last but one (validation) or the last (test)."""
    return dataset.validation_target(user) if split == "validation" else dataset.test_target(user)


def evaluate(
    dataset: FederatedDataset,
    scorer: Scorer,
    split: Split,
    *,
    k_list: Sequence[int] = K_LIST,
    metrics: Sequence[str] = METRICS,
    users: IntArray | None = None,
    batch_size: int = BATCH_SIZE,
    interactions: int | None = None,
    progress: Progress | None = None,
) -> MetricTable:
    """Rank each user's target among all items 1..I that the user may be offered, and average.

    Known are all items before the target (``known_prefix``). Where ``dataset.repeats`` is ``hide`` they are not
    offered, and a target among them is a miss (rank ∞): no list that is served could hold it. With
    ``interactions = n`` the scorer is given only the n most recent known ones (none for 0), but the whole prefix stays
    hidden: otherwise a short input would be punished for proposing what the user has watched, and rows for different n
    would rank different candidates.
    ``users`` is ``dataset.evaluated_users`` by default; ``progress(done, total)`` is called after every batch.
    """
    chosen, hidden = chosen_users(dataset, split, users), _hidden_from(dataset, split)
    ranks = target_ranks(dataset, scorer, split, chosen, hidden, batch_size, interactions, progress)
    return replace(MetricSums.of(ranks, k_list, metrics).table(), users=chosen, ranks=ranks)


def chosen_users(dataset: FederatedDataset, split: Split, users: IntArray | None) -> IntArray:
    """Return the users to evaluate [B]; ``DataError`` if there are none or one is too short for the split."""
    chosen = dataset.evaluated_users if users is None else np.asarray(users, dtype=np.int64)
    if len(chosen) == 0:
        raise DataError(f"no user of {dataset.name!r} can be evaluated; lower data.min_sequence_length")
    short = chosen[dataset.lengths[chosen] < _SHORTEST[split]]
    if len(short):
        raise DataError(
            f"user {dataset.vocabulary.user_id(int(short[0]))!r} has {dataset.lengths[short[0]]} interactions and so "
            f"no {split} target: evaluate users with at least {_SHORTEST[split]}"
        )
    return chosen


def target_ranks(
    dataset: FederatedDataset,
    scorer: Scorer,
    split: Split,
    users: IntArray,
    hidden: Callable[[IntArray], Seen],
    batch_size: int,
    interactions: int | None,
    progress: Progress | None,
) -> FloatArray:
    """Compute the middle rank [len(users)] of each target; ``hidden(batch)`` is what each user's ranking leaves out."""
    ranks = _ranks(dataset, _OneWay(scorer), split, users, hidden, batch_size, interactions, progress)
    return ranks.reshape(len(users))


def ranks_of_several(
    dataset: FederatedDataset, scorers: SeveralScorers, split: Split, users: IntArray, interactions: int | None = None
) -> FloatArray:
    """Compute the ranks [S, len(users)] of the targets in each of S ways, as ``evaluate`` does in one."""
    chosen = chosen_users(dataset, split, users)
    return _ranks(dataset, scorers, split, chosen, _hidden_from(dataset, split), BATCH_SIZE, interactions, None)


def _hidden_from(dataset: FederatedDataset, split: Split) -> Callable[[IntArray], Seen]:
    return lambda batch: [hidden_items(dataset, user, split) for user in batch.tolist()]


def _ranks(
    dataset: FederatedDataset,
    scorers: SeveralScorers,
    split: Split,
    users: IntArray,
    hidden: Callable[[IntArray], Seen],
    batch_size: int,
    interactions: int | None,
    progress: Progress | None,
) -> FloatArray:
    if interactions is not None and interactions < 0:
        raise ConfigError(f"interactions = {interactions} is below 0; use 0 for an empty input")
    ranks = []
    for start in range(0, len(users), batch_size):
        batch = users[start : start + batch_size]
        targets = np.array([target_item(dataset, user, split) for user in batch.tolist()])
        seen = seen_mask(hidden(batch), dataset.num_items + 1)
        ways = _scores(dataset, scorers, batch, split, interactions)
        ranks.append([target_rank(scores, targets, seen) for scores in ways])
        if progress is not None:
            progress(start + len(batch), len(users))
    return np.concatenate(ranks, axis=1)


def _scores(
    dataset: FederatedDataset, scorers: SeveralScorers, batch: IntArray, split: Split, interactions: int | None
) -> Iterator[Scores]:
    histories = [most_recent(known_prefix(dataset, user, split), interactions) for user in batch.tolist()]
    for scores in scorers.scores(batch, histories):
        assert scores.shape == (len(batch), dataset.num_items + 1), "a scorer returns [B, I+1]"
        yield scores


def most_recent(history: IntArray, interactions: int | None) -> IntArray:
    """Return the last ``interactions`` items of a history, all of them for None."""
    return history if interactions is None else history[max(len(history) - interactions, 0) :]


def recommended_lists(
    dataset: FederatedDataset,
    scorer: Scorer,
    split: Split,
    k: int,
    *,
    users: IntArray | None = None,
    batch_size: int = BATCH_SIZE,
) -> npt.NDArray[np.int64]:
    """List the k best items that each user may be offered [B, k], best first, ties by item index; 0 pads short lists.

    The input of ``catalogue_coverage``, ``intra_list_diversity`` and ``long_tail_share``.
    """
    chosen = chosen_users(dataset, split, users)
    lists = np.zeros((len(chosen), min(k, dataset.num_items)), dtype=np.int64)
    for start in range(0, len(chosen), batch_size):
        batch = chosen[start : start + batch_size]
        hidden = [hidden_items(dataset, user, split) for user in batch.tolist()]
        (scores,) = _scores(dataset, _OneWay(scorer), batch, split, None)
        best = _best_items(scores, hidden, k)
        lists[start : start + len(batch)] = best
    return np.pad(lists, ((0, 0), (0, k - lists.shape[1])))


def _best_items(scores: Scores, hidden_items: Sequence[IntArray], k: int) -> npt.NDArray[np.int64]:
    hidden = seen_mask(hidden_items, scores.shape[1])
    # Hidden items go last, -inf scores before them: a masked key alone would mix the two up.
    order = np.lexsort((-scores[:, 1:], hidden[:, 1:]), axis=1)[:, :k] + 1  # [B, k]
    order[np.take_along_axis(hidden, order, axis=1)] = 0
    return order.astype(np.int64)
