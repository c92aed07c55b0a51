"""What clients do where sums are secure: each writes its part in fixed point and masks it before anything is added.

The simulation draws the secrets from the run's seed, so that a run can be repeated; a device would ask its operating
system for them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.config import EvaluationConfig, ExperimentConfig
from fedmem.errors import TrainingError
from fedmem.evaluation.metric_table import MetricSums, metric_names, metric_values
from fedmem.federated.encodings import numbers_point, parameters_point, transition_words
from fedmem.federated.messages import ITEM_ROWS, MaskedSum, UpdateSum
from fedmem.federated.sums import Total
from fedmem.memory.transitions import TransitionCounts
from fedmem.randomness import numpy_generator
from fedmem.secure_sums.client import MaskingClient, Pair
from fedmem.secure_sums.forms import form_of, numbers_of
from fedmem.secure_sums.session import Session

Words = npt.NDArray[np.unsignedinteger[Any]]
Ranks = npt.NDArray[np.float64]


def device(seed: int, purpose: str, number: int, client: int) -> MaskingClient:
    """Draw a client's secrets for one session."""
    return MaskingClient(client, numpy_generator(seed, f"secrets of {purpose}", number, client))


def masked_update(config: ExperimentConfig, session: Session, client: int, update: UpdateSum) -> MaskedSum:
    """Mask the weighted update of one client, all item rows of it: the row indices would name the history."""
    clients = len(session.neighbours)
    delta = dict(update.delta)
    if update.item_rows is not None:
        delta[ITEM_ROWS] = update.item_rows.dense()
    words, clipped = parameters_point(config.secure_sums, clients).encode(numbers_of(delta))
    metrics = {**update.metrics, "clipped_parameters": Total(float(clipped))}
    rest = {
        "weight": update.weight,
        "row_weight": update.row_weight,
        "prototypes": update.prototypes,
        "metrics": metrics,
    }
    numbers, _ = numbers_point(clients).encode(numbers_of(rest))
    return _masked(config.seed, session, client, (words, numbers), (form_of(delta), form_of(rest)))


def masked_transitions(seed: int, session: Session, client: int, new: TransitionCounts) -> MaskedSum:
    """Mask the transitions that one client hands on, and how often it took each item, as whole numbers.

    Raises:
        TrainingError: if one of them is so large that the sum might run over.
    """
    words, largest = transition_words(new)
    if largest * len(session.neighbours) >= 2**31:
        raise TrainingError(
            f"a client counted a transition {largest:,} times, in parts of 1/2520, which a sum over "
            f"{len(session.neighbours):,} clients cannot hold: lower data.max_history"
        )
    return _masked(seed, session, client, (words,), new.num_items)


def masked_metrics(
    config: ExperimentConfig, session: Session, users: Sequence[int], ranks: Mapping[float, Ranks]
) -> MaskedSum:
    """Mask what each of some users measured, and add that up.

    Args:
        config: which metrics are wanted.
        session: the session, of all who evaluate.
        users: their indices [B].
        ranks: of their targets [B], by the weight of the transition memory, 0 first.
    """
    asked = config.evaluation
    form = form_of(metrics_of(asked, {strength: found[:1] for strength, found in ranks.items()}))
    names = metric_names(asked.k_list, asked.metrics)
    values = [metric_values(name, found) for found in ranks.values() for name in names]
    numbers = np.stack([part for x in values for part in (x, np.square(x), np.ones_like(x))], axis=1)  # [B, n]
    point = numbers_point(len(session.neighbours))
    total: MaskedSum | None = None
    for user, row in zip(users, numbers, strict=True):
        one = _masked(config.seed, session, user, (point.encode(row)[0],), form)
        total = one if total is None else total + one
    assert total is not None, "a group has users"
    return total


def metrics_of(asked: EvaluationConfig, ranks: Mapping[float, Ranks]) -> MetricSums:
    """Sum what some users measured, from their ranks [B] by the weight of the transition memory, 0 first."""
    found = {strength: MetricSums.of(some, asked.k_list, asked.metrics) for strength, some in ranks.items()}
    return replace(found.pop(0.0), fused=found)


def _masked(seed: int, session: Session, client: int, lanes: tuple[Words, ...], form: Any) -> MaskedSum:
    device(seed, session.purpose, session.number, client).mask(session, lanes, _agreed_in(session))
    return MaskedSum(lanes, form, frozenset([client]))


_agreed: tuple[Session, dict[Pair, bytes]] | None = None


def _agreed_in(session: Session) -> dict[Pair, bytes]:
    """Return the seeds that clients of this process have agreed on in the session; those of the one before are gone."""
    global _agreed
    if _agreed is None or _agreed[0] is not session:
        _agreed = session, {}
    return _agreed[1]
