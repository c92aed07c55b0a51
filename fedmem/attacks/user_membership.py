"""User membership: whether a user's history was trained on, from the weights or from the sums of transitions.

The attacker has the history. Of several, those that were trained on are told from others by a score for each.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedmem.attacks.membership_inference import log_probabilities
from fedmem.federated.scoring import ModelScorer
from fedmem.memory.transitions import TransitionCounts

History = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float64]

NEWEST = 50  # items of a history that are looked at


def by_probability(scorer: ModelScorer, histories: Sequence[History]) -> Scores:
    """Score each history by the mean log-probability of its newest items after what came before each [U].

    The loss as a score is that of Yeom et al. (2018). Less the same of a model that was trained on other users, it is
    calibrated by how hard a history is (Watson et al., 2022).
    """
    return np.array([_mean_log_probability(scorer, history) for history in histories])


def _mean_log_probability(scorer: ModelScorer, history: History) -> float:
    ends = range(max(1, len(history) - NEWEST), len(history))
    found = log_probabilities(scorer, [history[:end] for end in ends], [int(history[end]) for end in ends])
    return float(found.mean())


def by_pairs(counts: TransitionCounts, histories: Sequence[History]) -> Scores:
    """Score each history by the share of its neighbouring pairs that a sum of transitions counts at all [U].

    A user who is in an exact sum has all of them there.
    """
    return np.array([float((counts.pairs[history[:-1], history[1:]] > 0).mean()) for history in histories])
