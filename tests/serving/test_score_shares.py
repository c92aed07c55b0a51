"""Shares of the parts in what is recommended: they add up, against scores that are taken apart by hand."""

import numpy as np
import pytest

from fedmem.controls import with_transitions
from fedmem.serving import Recommender, score_shares
from tests.serving.builders import drawn_checkpoint, drawn_snapshot

SNAPSHOT = drawn_snapshot()
CHECKPOINT = drawn_checkpoint(SNAPSHOT)


def by_hand(recommender: Recommender) -> float:
    """The share of the transition memory, from the scores with it and the same scores without it."""
    dataset, shares = recommender.dataset, []
    without = Recommender.of(SNAPSHOT, with_transitions(CHECKPOINT, None), "without")
    for user in dataset.evaluated_users.tolist():
        known = dataset.test_input(user)
        offered = np.setdiff1d(np.arange(1, dataset.num_items + 1), known)
        if len(offered) <= 10:
            continue  # all of them are the best
        whole, dense = (one.score([user], [known])[0].astype(np.float64) for one in (recommender, without))
        best = sorted(offered, key=lambda item: (-whole[item], item))[:10]
        margin, dense_margin = (scores[best].mean() - scores[offered].mean() for scores in (whole, dense))
        shares.append((margin - dense_margin) / margin)
    return float(np.mean(shares))


def test_shares_add_up_and_are_those_of_scores_taken_apart_by_hand() -> None:
    recommender = Recommender.of(SNAPSHOT, CHECKPOINT, "drawn")
    found = score_shares(recommender)
    assert set(found) == {"sequence", "sequential", "text", "visual", "availability", "remembered"}
    assert sum(found.values()) == pytest.approx(1)
    assert found["remembered"] == pytest.approx(by_hand(recommender), abs=1e-5)
    assert all(abs(share) > 1e-4 for share in found.values()), "every part is drawn to take part"


def test_a_model_without_transitions_has_no_share_of_them() -> None:
    found = score_shares(Recommender.of(SNAPSHOT, with_transitions(CHECKPOINT, None), "without"))
    assert "remembered" not in found
    assert sum(found.values()) == pytest.approx(1)


def test_it_can_be_ended_between_two_users() -> None:
    class EndedError(Exception):
        pass

    def end() -> None:
        raise EndedError

    with pytest.raises(EndedError):
        score_shares(Recommender.of(SNAPSHOT, CHECKPOINT, "drawn"), end)
