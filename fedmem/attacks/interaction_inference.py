"""Interaction inference: whether a client took an item, from item rows of an update or from counts of transitions."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from fedmem.federated.messages import ITEM_ROWS, ClientUpdate, UpdateSum
from fedmem.memory.transitions import TransitionCounts

Scores = npt.NDArray[np.float64]


def row_lengths(update: ClientUpdate) -> Scores:
    """Score every item by how far its row moves [I + 1]: what was taken moves most."""
    lengths: Scores = np.linalg.norm(update.delta[ITEM_ROWS].astype(np.float64), axis=1)
    return lengths


def decoded_row_lengths(total: UpdateSum) -> Scores:
    """Score every item by how far its row moves in the sum over a cohort, each client by its samples [I + 1]."""
    lengths: Scores = np.linalg.norm(total.delta[ITEM_ROWS].astype(np.float64), axis=1)
    return lengths


def counted(transitions: TransitionCounts) -> Scores:
    """Score every item by how often it was taken, from new transitions [I + 1]."""
    return transitions.taken.astype(np.float64)


def interaction_auc(scores: Scores, history: npt.NDArray[np.integer]) -> float:
    """Compute how well scores tell a history's items from all others: the area under the ROC curve; .5 is chance."""
    taken = np.isin(np.arange(1, len(scores)), history)
    return float(roc_auc_score(taken, scores[1:])) if 0 < taken.sum() < len(taken) else 0.5
