"""The cold-start protocol: users who never trained, served from their few most recent interactions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import DataError
from fedmem.evaluation.evaluate import BATCH_SIZE, Progress, Scorer, evaluate
from fedmem.evaluation.metric_table import K_LIST, METRICS, MetricTable
from fedmem.evaluation.ranking_metrics import IntArray

INTERACTIONS = (0, 1, 2, 3, 5, 10)


@dataclass(frozen=True, eq=False)
class ColdStartRow:
    """One scorer at one number of interactions."""

    scorer: str
    interactions: int
    table: MetricTable

    @property
    def label(self) -> str:
        """As a table prints it, such as ``popularity, n = 3``."""
        return f"{self.scorer}, n = {self.interactions}"


def measured_interactions(dataset: FederatedDataset) -> tuple[int, ...]:
    """List the n of ``INTERACTIONS`` that half of the ``cold_users`` have before their last, as rows share users."""
    before_the_last = dataset.lengths[dataset.cold_users] - 1
    return tuple(n for n in INTERACTIONS if 2 * (before_the_last >= n).sum() >= len(before_the_last))


def users_who_never_trained(dataset: FederatedDataset, interactions: Sequence[int]) -> IntArray:
    """Return the ``cold_users`` with the largest n of ``interactions`` before their last one, the same for every row.

    Raises ``DataError`` if there are none.
    """
    needed = max(interactions) + 1
    users = dataset.cold_users[dataset.lengths[dataset.cold_users] >= needed]
    if len(users) == 0:
        raise DataError(
            f"{dataset.name!r} has no user of {needed} or more interactions who never trained: set "
            "data.cold_user_fraction above 0 (0.1 is usual) before training, or ask for fewer interactions"
        )
    return np.asarray(users)


def evaluate_cold_start(
    dataset: FederatedDataset,
    scorers: Mapping[str, Scorer],
    interactions: Sequence[int] | None = None,
    k_list: Sequence[int] = K_LIST,
    *,
    metrics: Sequence[str] = METRICS,
    batch_size: int = BATCH_SIZE,
    progress: Progress | None = None,
) -> list[ColdStartRow]:
    """Evaluate every scorer at every n, on the n most recent interactions before the last, which is the target.

    All rows have the same users, targets and candidates (what a user knows stays hidden at every n, see ``evaluate``),
    so that rows compare in pairs. By default n are those of ``measured_interactions``.
    ``progress(done, total)`` counts rows.
    """
    numbers = measured_interactions(dataset) if interactions is None else interactions
    users = users_who_never_trained(dataset, numbers)
    rows: list[ColdStartRow] = []
    for name, scorer in scorers.items():
        for n in numbers:
            table = evaluate(
                dataset,
                scorer,
                "test",
                k_list=k_list,
                metrics=metrics,
                users=users,
                batch_size=batch_size,
                interactions=n,
            )
            rows.append(ColdStartRow(name, n, table))
            if progress is not None:
                progress(len(rows), len(scorers) * len(numbers))
    return rows
