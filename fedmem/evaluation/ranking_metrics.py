"""Ranking metrics, one formula each, over the rank of one relevant item per user or over recommended lists.

A rank is 1 for the best item; tied items share the middle of the ranks they occupy, so that a rank may end in .5 and a
scorer that gives every item the same score gains nothing by the order of its items.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.errors import FedMemError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]
Seen = BoolArray | Sequence[IntArray]


def seen_mask(seen: Seen, num_columns: int) -> BoolArray:
    """Return the seen items as a mask [B, I+1]; lists of item indices, one per user, are scattered into it."""
    if isinstance(seen, np.ndarray) and seen.dtype == np.bool_:
        return seen
    mask = np.zeros((len(seen), num_columns), dtype=np.bool_)
    rows = np.repeat(np.arange(len(seen)), [len(items) for items in seen])
    if rows.size:
        mask[rows, np.concatenate(list(seen))] = True
    return mask


def target_rank(scores: npt.NDArray[np.floating[Any]], targets: IntArray, seen: Seen) -> FloatArray:
    """Compute the middle rank [B] of each user's target among the items 1..I that the user has not seen.

    rank = 1 + #{better} + #{equal others} / 2, over all items but the padding column 0 and the seen ones; infinite for
    a target that stands among the seen, which no list can hold. ``scores`` is [B, I+1], ``targets`` [B], ``seen`` a
    mask [B, I+1] or a list of item indices per user. Raises ``FedMemError`` on a NaN score.
    """
    _require_numbers(scores)
    rows = np.arange(len(targets))
    others = ~seen_mask(seen, scores.shape[1])  # [B, I+1]
    others[:, 0] = False
    offered = others[rows, targets]  # [B]
    others[rows, targets] = False
    own = scores[rows, targets][:, None]  # [B, 1]
    better = np.count_nonzero((scores > own) & others, axis=1)
    equal = np.count_nonzero((scores == own) & others, axis=1)
    return np.where(offered, 1.0 + better + equal / 2.0, np.inf)


def _require_numbers(scores: npt.NDArray[np.floating[Any]]) -> None:
    missing = np.isnan(scores[:, 1:])
    if missing.any():
        row, column = (int(position[0]) for position in np.nonzero(missing))
        raise FedMemError(
            f"the score of item {column + 1} for user {row} of the batch is NaN, so nothing can be ranked: "
            "the model has diverged, train it again with a lower learning rate"
        )


def hit_ratio(ranks: FloatArray, k: int) -> FloatArray:
    """Compute HR@k per user [B]: 1 if rank ≤ k, else 0.

    A middle rank counts as it stands: two items tied at 10 and 11 have rank 10.5 and are no hit at 10.
    With one relevant item it equals recall@k (Deshpande & Karypis 2004, Item-based top-N recommendation algorithms).
    """
    return (ranks <= k).astype(np.float64)


def ndcg(ranks: FloatArray, k: int) -> FloatArray:
    """Compute NDCG@k per user [B] with one relevant item: 1 / log2(rank + 1) if rank ≤ k, else 0 (the ideal DCG is 1).

    Järvelin & Kekäläinen 2002, Cumulated gain-based evaluation of IR techniques.
    """
    return np.where(ranks <= k, 1.0 / np.log2(ranks + 1.0), 0.0)


def reciprocal_rank(ranks: FloatArray) -> FloatArray:
    """Compute 1 / rank per user [B], without a cut-off; its mean is MRR (Voorhees 1999, TREC-8 QA report)."""
    return 1.0 / ranks


@dataclass(frozen=True)
class RankingMetric:
    """A metric of ranks, as configurations, tables and the dashboard know it.

    Attributes:
        name: what configurations and stored metrics call it, without a cut-off.
        of: the metric of each rank [B], from the ranks [B] and, if it has one, the cut-off k.
        title: what it measures, with its unit; ``{k}`` stands for the cut-off.
        cut_off: whether only the first k places count.
    """

    name: str
    of: Callable[..., FloatArray]
    title: str
    cut_off: bool = True

    def names(self, k_list: Sequence[int]) -> list[str]:
        """List its name at each cut-off, such as NDCG@5 and NDCG@10, or its name alone if it has none."""
        return [f"{self.name}@{k}" for k in k_list] if self.cut_off else [self.name]


_TABLE = (
    RankingMetric("HR", hit_ratio, "Hit rate at {k} (share of users)"),
    RankingMetric("NDCG", ndcg, "NDCG at {k} (0 to 1)"),
    RankingMetric("MRR", reciprocal_rank, "Mean reciprocal rank (0 to 1)", cut_off=False),
)
RANKING_METRICS: Mapping[str, RankingMetric] = {metric.name: metric for metric in _TABLE}


def standard_error(values: FloatArray) -> float:
    """Compute the standard error of the mean, s / √n with s² = Σ(x − x̄)² / (n − 1); NaN for fewer than two values."""
    if len(values) < 2:
        return float("nan")
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def catalogue_coverage(lists: IntArray, num_items: int) -> float:
    """Share of the catalogue that is in at least one list: |∪ lists| / I (Ge et al. 2010, Beyond accuracy).

    ``lists`` is [B, K] of item indices; 0 pads a list that is shorter than K.
    """
    return float(np.unique(lists[lists > 0]).size / num_items)


def intra_list_diversity(lists: IntArray, item_vectors: npt.NDArray[np.floating[Any]]) -> float:
    """Compute the mean over lists of the mean 1 − cos(x_i, x_j) over a list's pairs i ≠ j, in [0, 2].

    ``lists`` is [B, K], ``item_vectors`` [I+1, D]. Padding and items whose vector is zero (a missing modality) take no
    part; a list with fewer than two items left is skipped, and NaN is returned if every list is.
    Ziegler et al. 2005, Improving recommendation lists through topic diversification (there as similarity).
    """
    vectors = item_vectors[lists].astype(np.float64)  # [B, K, D]
    norms = np.linalg.norm(vectors, axis=-1)  # [B, K]
    present = (norms > 0) & (lists > 0)
    units = np.where(present[..., None], vectors / np.where(norms > 0, norms, 1.0)[..., None], 0.0)
    count = present.sum(axis=1)
    # Σ_{i≠j} cos(i, j) = ‖Σ_i u_i‖² − n, as every u_i has length one.
    similarity = np.square(units.sum(axis=1)).sum(axis=-1) - count
    usable = count >= 2
    if not usable.any():
        return float("nan")
    pairs = count[usable] * (count[usable] - 1.0)
    return float(np.mean(1.0 - similarity[usable] / pairs))


def long_tail_share(lists: IntArray, item_counts: IntArray, head_share: float = 0.2) -> float:
    """Share of recommended items that lie outside the most popular ``head_share`` of the catalogue.

    APLT = mean over lists of |list ∩ tail| / |list|, the tail being all items but the ⌈head_share · I⌉ most interacted
    with; ``lists`` is [B, K] with 0 as padding (an empty list is skipped), ``item_counts`` [I+1] counts training
    interactions. Abdollahpouri et al. 2019, Managing popularity bias in recommender systems.
    """
    order = 1 + np.argsort(-item_counts[1:], kind="stable")
    tail = np.zeros(len(item_counts), dtype=np.bool_)
    tail[order[int(np.ceil(head_share * len(order))) :]] = True
    lengths = (lists > 0).sum(axis=1)
    if not lengths.any():
        return float("nan")
    return float(np.mean(tail[lists].sum(axis=1)[lengths > 0] / lengths[lengths > 0]))
