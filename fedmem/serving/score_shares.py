"""The share of each part of the score in what is recommended: how far it lifts the best items above the mean one."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fedmem.evaluation.evaluate import hidden_items, known_prefix
from fedmem.evaluation.ranking_metrics import seen_mask
from fedmem.randomness import numpy_generator
from fedmem.serving.recommender import Recommender

Doubles = npt.NDArray[np.float64]

LIST_LENGTH = 10
MOST_USERS = 500  # of more, so many are drawn: the standard error of a share is then below .01


def score_shares(recommender: Recommender, after_user: Callable[[], None] = lambda: None) -> dict[str, float]:
    """Compute the mean share of each part in the score differences that put the ten best items ahead.

    A score is the sum of its parts, s(u, i) = Σ_p s_p(u, i): the sequence model, each expert, the availability of
    modalities, the transition memory. O are the items that a user may be offered, T the ten of them with the greatest
    scores. The margin of a part is m_p(u) = mean over T of s_p − mean over O of s_p; margins add up to that of the
    score, and the share of a part is the mean over users of m_p(u) / Σ_q m_q(u). Shares add up to 1; that of a part
    that ranks against the others is below 0.

    Users are the evaluated ones, with all but their last interaction as input; what comes last is not read.

    Args:
        recommender: a model as it was evaluated.
        after_user: called after every user; what it raises ends the computation.

    Returns:
        The shares by the part's name; empty where no user may be offered more than ten items.
    """
    users = recommender.dataset.evaluated_users
    rng = numpy_generator(recommender.config.seed, "users whose scores are taken apart")
    found = []
    for user in rng.permutation(users)[:MOST_USERS].tolist():
        margins = _margins(recommender, user)
        whole = sum(margins.values())
        if whole > 0:
            found.append({part: margin / whole for part, margin in margins.items()})
        after_user()
    parts = dict.fromkeys(part for shares in found for part in shares)
    return {part: float(np.mean([shares.get(part, 0.0) for shares in found])) for part in parts}


def _margins(recommender: Recommender, user: int) -> dict[str, float]:
    """Compute what each part adds to the mean of the ten best items, above the mean of all that may be offered."""
    dataset = recommender.dataset
    seen = seen_mask([hidden_items(dataset, user, "test")], dataset.num_items + 1)[0]
    offered = np.flatnonzero(~seen[1:]) + 1
    if len(offered) <= LIST_LENGTH:
        return {}
    parts = _parts(recommender, user, offered)
    best = np.argsort(-sum(parts.values(), np.zeros(len(offered))), kind="stable")[:LIST_LENGTH]
    return {name: float(scores[best].mean() - scores.mean()) for name, scores in parts.items()}


def _parts(recommender: Recommender, user: int, items: npt.NDArray[np.integer]) -> dict[str, Doubles]:
    """Compute the parts of the scores of some items [n] by name."""
    history, scorer = known_prefix(recommender.dataset, user, "test"), recommender.scorer
    read = recommender.queries.parts(recommender.context(user, history), history)
    parts = recommender.explainer.dense_parts(read, items)
    if scorer.transitions is not None:
        remembered = scorer.transitions.read(history).times(scorer.strengths.after(history))
        parts["remembered"] = remembered.of(items).astype(np.float64)
    return parts
