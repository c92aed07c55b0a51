"""What clients do where sums are secure: each writes its part in fixed point and masks it.

The simulation draws the secrets from the run's seed, so that a run can be repeated; a device would ask its operating
system for them. It adds the words of clients that it trains together before it masks them, without what two of these
share: to the bit the sum of what each would send.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.config import EvaluationConfig, SecureSumsConfig
from fedmem.evaluation.metric_table import MetricSums, Moments, metric_names, metric_values
from fedmem.federated.encodings import add_transitions, numbers_point, parameters_point
from fedmem.federated.messages import ITEM_ROWS, MaskedSum, UpdateSum
from fedmem.federated.sums import Total
from fedmem.memory.transitions import TransitionCounts
from fedmem.randomness import numpy_generator
from fedmem.secure_sums.client import MaskingClient, Pair
from fedmem.secure_sums.forms import form_of, numbers_of
from fedmem.secure_sums.session import Session

Words = npt.NDArray[np.unsignedinteger[Any]]
Lanes = tuple[Words, ...]
Ranks = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MeasuredRanks:
    """Ranks of some users' targets [B].

    Attributes:
        whole: by the weight of the transition memory, 0 first.
        short: by the length to which histories were cut, and that weight.
    """

    whole: Mapping[float, Ranks]
    short: Mapping[int, Mapping[float, Ranks]] = field(default_factory=dict)

    def of_first(self) -> "MeasuredRanks":
        """Take the first user alone."""
        short = {length: {s: ranks[:1] for s, ranks in found.items()} for length, found in self.short.items()}
        return MeasuredRanks({s: ranks[:1] for s, ranks in self.whole.items()}, short)


def device(seed: int, purpose: str, number: int, client: int) -> MaskingClient:
    """Draw a client's secrets for one session."""
    return MaskingClient(client, numpy_generator(seed, f"secrets of {purpose}", number, client))


def masked_updates(
    config: SecureSumsConfig, seed: int, session: Session, sent: Iterable[tuple[int, UpdateSum]]
) -> MaskedSum:
    """Mask the weighted updates of clients of one device host, all item rows of them, as they come.

    Row indices would name the history. The words of all are those of the sum of what each would mask alone, to the bit.

    Args:
        config: the fixed point of secure sums.
        seed: the run's.
        session: the session, in which each has one update.
        sent: the clients, one or more, with their updates.
    """
    lanes, forms, clients = None, None, []
    for client, update in sent:
        words, form = _update_words(config, len(session.neighbours), update)
        lanes, forms = (words, form) if lanes is None else (_added(lanes, words), forms)
        clients.append(client)
    assert lanes is not None, "there are clients"
    return _masked(seed, session, clients, lanes, forms)


def _update_words(config: SecureSumsConfig, clients: int, update: UpdateSum) -> tuple[Lanes, Any]:
    delta = dict(update.delta)
    if update.item_rows is not None:
        delta[ITEM_ROWS] = update.item_rows.dense()
    words, clipped = parameters_point(config, clients).encode(numbers_of(delta))
    rest = {
        "weight": update.weight,
        "row_weight": update.row_weight,
        "prototypes": update.prototypes,
        "metrics": {**update.metrics, "clipped_parameters": Total(float(clipped))},
    }
    return (words, numbers_point(clients).encode(numbers_of(rest))[0]), (form_of(delta), form_of(rest))


def masked_transitions(seed: int, session: Session, sent: Iterable[tuple[int, TransitionCounts]]) -> MaskedSum:
    """Mask the transitions that clients hand on, all pairs or all cells, and how often each took every item.

    Raises:
        TrainingError: if one of them is so large that the sum might run over.
    """
    words, shape, clients = None, (0, 0), []
    for client, new in sent:
        words, shape = add_transitions(words, new, len(session.neighbours)), new.pairs.shape
        clients.append(client)
    assert words is not None, "there are clients"
    return _masked(seed, session, clients, (words,), shape)


def masked_metrics(
    asked: EvaluationConfig, seed: int, session: Session, users: Sequence[int], ranks: MeasuredRanks
) -> MaskedSum:
    """Mask what each of some users measured, and add that up.

    Args:
        asked: which metrics are wanted.
        seed: the run's.
        session: the session, of all who evaluate.
        users: their indices [B].
        ranks: of their targets.
    """
    form = form_of(metrics_of(asked, ranks.of_first()))
    names = metric_names(asked.k_list, asked.metrics)
    values = [metric_values(name, found) for found in ranks.whole.values() for name in names]
    values += [metric_values(asked.stopping_metric, x) for found in ranks.short.values() for x in found.values()]
    numbers = np.stack([part for x in values for part in (x, np.square(x), np.ones_like(x))], axis=1)  # [B, n]
    words, _ = numbers_point(len(session.neighbours)).encode(numbers)
    return _masked(seed, session, users, (words.sum(0, dtype=words.dtype),), form)


def metrics_of(asked: EvaluationConfig, ranks: MeasuredRanks) -> MetricSums:
    """Sum what some users measured; after short histories the one metric by which weights are chosen."""
    found = {strength: MetricSums.of(some, asked.k_list, asked.metrics) for strength, some in ranks.whole.items()}
    short = {
        length: {s: Moments.of(metric_values(asked.stopping_metric, some)) for s, some in by_strength.items()}
        for length, by_strength in ranks.short.items()
    }
    return replace(found.pop(0.0), fused=found, short=short)


def _added(total: Lanes, more: Lanes) -> Lanes:
    """Add words to the first ones, in place."""
    return tuple(np.add(one, other, out=one) for one, other in zip(total, more, strict=True))


def _masked(seed: int, session: Session, clients: Sequence[int], lanes: Lanes, form: Any) -> MaskedSum:
    """Mask the sum of some clients' words in place, as each of them would mask its own."""
    together = frozenset(clients)
    for client in clients:
        device(seed, session.purpose, session.number, client).mask(session, lanes, _agreed_in(session), together)
    return MaskedSum(lanes, form, together)


_agreed: tuple[Session, dict[Pair, bytes]] | None = None


def _agreed_in(session: Session) -> dict[Pair, bytes]:
    """Return the seeds that clients of this process have agreed on in the session; those of the one before are gone."""
    global _agreed
    if _agreed is None or _agreed[0] is not session:
        _agreed = session, {}
    return _agreed[1]
