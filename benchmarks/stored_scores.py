"""What trained runs score without the transition memory, kept so that other tables and weights are tried in seconds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.evaluation.evaluate import Split, hidden_items, known_prefix, target_item
from fedmem.evaluation.metric_table import MetricSums
from fedmem.evaluation.ranking_metrics import target_rank
from fedmem.federated.scoring import ScoreBlock
from fedmem.memory.transitions import TransitionTable
from fedmem.serving import Recommender

BATCH = 256
Ranks = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StoredScores:
    """The dense part of the scores of all evaluated users of a run, in one split; short histories are as all others.

    Attributes:
        dataset: the run's data.
        split: which item is looked for.
        users: whose [U].
        dense: their scores [U, I + 1].
    """

    dataset: FederatedDataset
    split: Split
    users: npt.NDArray[np.int64]
    dense: npt.NDArray[np.float32]

    @classmethod
    def of(cls, recommender: Recommender, split: Split) -> "StoredScores":
        """Compute them by a run's best model."""
        data = recommender.dataset
        parts = []
        for batch in batches(data.evaluated_users):
            known = [known_prefix(data, user, split) for user in batch.tolist()]
            contexts = [recommender.context(user, history) for user, history in zip(batch.tolist(), known, strict=True)]
            parts.append(recommender.scorer.parts(contexts, known).dense)
        return cls(data, split, data.evaluated_users, np.concatenate(parts))

    def ndcg(self, table: TransitionTable, strength: float) -> float:
        """Compute NDCG@10 with one number for all."""
        return ndcg(self.ranks(table, np.full(len(self.users), strength)))

    def lengths(self) -> npt.NDArray[np.int64]:
        """Count what is known of each user [U]."""
        return np.array([len(known_prefix(self.dataset, user, self.split)) for user in self.users.tolist()])

    def ranks(self, table: TransitionTable, strengths: npt.NDArray[np.float64]) -> Ranks:
        """Rank the targets [U], the table's part weighed by one number for each user [U]."""
        found = []
        for places in batches(np.arange(len(self.users))):
            users = self.users[places].tolist()
            known = [known_prefix(self.dataset, user, self.split) for user in users]
            weighed = zip(known, strengths[places].tolist(), strict=True)
            read = [table.read(history).times(strength) for history, strength in weighed]
            scores = ScoreBlock(self.dense[places], read).fused([1.0] * len(read))
            targets = np.array([target_item(self.dataset, user, self.split) for user in users])
            found.append(target_rank(scores, targets, [hidden_items(self.dataset, u, self.split) for u in users]))
        return np.concatenate(found)


def batches(users: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Cut into some at a time."""
    return [users[first : first + BATCH] for first in range(0, len(users), BATCH)]


def ndcg(ranks: Ranks) -> float:
    """Return NDCG@10."""
    return MetricSums.of(ranks, (10,), ("NDCG",)).table().mean("NDCG@10")


def loaded(path: Path) -> Recommender:
    """Read a run's best model as it is evaluated."""
    recommender = Recommender.load(path)
    assert recommender.trained.transitions is not None, f"{path} has no transition memory"
    return recommender
