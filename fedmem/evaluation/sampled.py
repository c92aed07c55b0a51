"""Evaluation against 100 sampled items, an option for comparison with papers that did so: it reorders models.

Krichene & Rendle 2020, On sampled metrics for item recommendation. The negatives are drawn once and stored, so that
every model meets the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import DataError
from fedmem.evaluation.evaluate import (
    BATCH_SIZE,
    Progress,
    Scorer,
    Split,
    chosen_users,
    hidden_items,
    target_item,
    target_ranks,
)
from fedmem.evaluation.metric_table import K_LIST, METRICS, MetricSums, MetricTable
from fedmem.evaluation.ranking_metrics import BoolArray, IntArray


@dataclass(frozen=True, eq=False)
class StoredNegatives:
    """``items`` [B, N]: distinct items that user ``users[b]`` may be offered and that are not the split's target.

    ``dataset_digest`` names the snapshot that the indices belong to, ``repeats`` what could be offered.
    """

    users: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    split: str
    dataset_digest: str
    repeats: str = "hide"

    @classmethod
    def draw(
        cls,
        dataset: FederatedDataset,
        split: Split,
        generator: np.random.Generator,
        *,
        count: int = 100,
        users: IntArray | None = None,
    ) -> "StoredNegatives":
        """Draw without replacement, user by user; ``DataError`` if a user has fewer than ``count`` such items."""
        chosen = chosen_users(dataset, split, users)
        items = [_draw_one(dataset, split, user, count, generator) for user in chosen.tolist()]
        return cls(chosen.astype(np.int64), np.stack(items), split, dataset.digest, dataset.repeats)

    def save(self, path: Path) -> None:
        """Write as npz under exactly this path."""
        with path.open("wb") as file:
            np.savez_compressed(file, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "StoredNegatives":
        """Read what ``save`` wrote; ``DataError`` naming the file if it is something else."""
        try:
            # Opened here, because numpy leaves a broken archive open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                # A file of an older version says nothing of repeats: they were hidden.
                words = [str(stored[name]) for name in ("split", "dataset_digest", "repeats") if name in stored]
                return cls(stored["users"], stored["items"], *words)
        except (OSError, EOFError, KeyError, ValueError, TypeError, BadZipFile) as error:
            raise DataError(f"{path}: not a file of stored negatives ({error}); draw and save them again") from error


def _draw_one(
    dataset: FederatedDataset, split: Split, user: int, count: int, generator: np.random.Generator
) -> npt.NDArray[np.int32]:
    offered = np.ones(dataset.num_items + 1, dtype=np.bool_)
    offered[0] = False
    offered[hidden_items(dataset, user, split)] = False
    offered[target_item(dataset, user, split)] = False
    candidates = np.flatnonzero(offered)
    if len(candidates) < count:
        raise DataError(
            f"user {dataset.vocabulary.user_id(user)!r} has {len(candidates)} unknown items and {count} negatives were "
            "asked for: draw fewer, or use the full ranking"
        )
    return generator.choice(candidates, size=count, replace=False).astype(np.int32)


def sampled_evaluate(
    dataset: FederatedDataset,
    scorer: Scorer,
    split: Split,
    negatives: StoredNegatives,
    *,
    k_list: Sequence[int] = K_LIST,
    metrics: Sequence[str] = METRICS,
    batch_size: int = BATCH_SIZE,
    progress: Progress | None = None,
) -> MetricTable:
    """Rank each target among its user's stored negatives alone; users are those of ``negatives``.

    Raises ``DataError`` if the negatives belong to another snapshot, another split or another ``data.repeats``.
    """
    if negatives.repeats != dataset.repeats:
        raise DataError(
            f"the stored negatives were drawn under data.repeats = {negatives.repeats}, and {dataset.name!r} is "
            f"evaluated under {dataset.repeats}: draw them again"
        )
    if (negatives.dataset_digest, negatives.split) != (dataset.digest, split):
        raise DataError(
            f"the stored negatives are for the {negatives.split} split of data set {negatives.dataset_digest[:12]}, "
            f"not for the {split} split of {dataset.name!r} ({dataset.digest[:12]}): draw them again from this data set"
        )
    rows = {user: row for row, user in enumerate(negatives.users.tolist())}

    def all_but_negatives(batch: IntArray) -> BoolArray:
        hidden = np.ones((len(batch), dataset.num_items + 1), dtype=np.bool_)
        np.put_along_axis(hidden, negatives.items[[rows[user] for user in batch.tolist()]], False, axis=1)
        for row, user in enumerate(batch.tolist()):
            target = target_item(dataset, user, split)
            hidden[row, target] = target in hidden_items(dataset, user, split)
        return hidden

    users = chosen_users(dataset, split, negatives.users)
    ranks = target_ranks(dataset, scorer, split, users, all_but_negatives, batch_size, None, progress)
    return replace(MetricSums.of(ranks, k_list, metrics).table(), users=users, ranks=ranks)
