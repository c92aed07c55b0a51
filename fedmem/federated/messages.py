"""Every type that crosses between client and server: what one sends the other, and sums of what clients send.

Down goes a ``Broadcast``. Up comes a ``ClientUpdate`` of one client, or an ``UpdateSum`` of several, which shows the
server less (but for ``GatheredPrototypes`` and ``GatheredChanges``); after an evaluation ``MetricSums``. Where sums are
secure a ``Session`` goes down first, and of all of these a ``MaskedSum`` comes up. Besides, ``round.Population`` tells
which clients evaluate or have transitions left, and the keys and shares of ``secure_sums`` pass between the clients of
a session: control, and no results. Nothing else crosses: server code cannot import client data or a local memory (an
import contract checks it). What is sent is clipped or noised
in ``postprocessing``, and masked in ``masking``.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from fedmem.evaluation.metric_table import MetricSums
from fedmem.federated.sums import Mean, Sum
from fedmem.memory.prototypes import Prototypes
from fedmem.memory.transitions import TransitionCounts, TransitionTable
from fedmem.secure_sums.forms import Form
from fedmem.secure_sums.session import Session

__all__ = [
    "Arrays",
    "Broadcast",
    "ClientUpdate",
    "GatheredChanges",
    "GatheredPrototypes",
    "MaskedSum",
    "Mean",
    "MetricSums",
    "RowSum",
    "Session",
    "Sum",
    "UpdateSum",
]

Arrays = Mapping[str, npt.NDArray[np.floating]]

ITEM_ROWS = "sasrec.item_embedding"


@dataclass(frozen=True, eq=False)
class Broadcast:
    """Server to client: the round's number, the global model and, where it is used, the global abstract memory.

    Its transitions go to clients that evaluate; those that train need none.

    Attributes:
        round: how many rounds are completed.
        parameters: the global model.
        global_memory: the prototypes, or None.
        transitions: the rows of the transition memory, or None.
        strengths: with which weights of the transition memory an evaluation is asked for; 0 is without it.
        short_strengths: what stands for each of them, but 0, after histories of up to so many interactions.
        short_histories: to which lengths histories are cut, one after another, for an evaluation besides.
    """

    round: int
    parameters: Arrays
    global_memory: Prototypes | None = None
    transitions: TransitionTable | None = None
    strengths: tuple[float, ...] = (0.0,)
    short_strengths: Mapping[int, float] = field(default_factory=dict)
    short_histories: tuple[int, ...] = ()

    @property
    def tried(self) -> tuple[float, ...]:
        """Each weight that is measured, once; 0 is always one, and the first."""
        return tuple(dict.fromkeys((0.0, *self.strengths)))

    def num_bytes(self) -> dict[str, int]:
        """Count the bytes on the wire, by part."""
        sizes = {"weights": wire_size(self.parameters), "prototypes": prototype_size(self.global_memory)}
        return sizes if self.transitions is None else sizes | {"transitions": self.transitions.num_bytes}


@dataclass(frozen=True, eq=False)
class ClientUpdate:
    """Client to server: the change of the parameters, the prototypes, the number of samples, sums of metrics.

    Not its transitions, which would name its history: those cross in sums alone.
    """

    num_samples: int
    delta: Arrays = field(default_factory=dict)
    prototypes: Prototypes | None = None
    metrics: Mapping[str, Sum] = field(default_factory=dict)

    def num_bytes(self) -> dict[str, int]:
        """Count the bytes on the wire, by part."""
        return {"weights": wire_size(self.delta), "prototypes": prototype_size(self.prototypes)}


@dataclass(frozen=True, eq=False)
class RowSum:
    """Sums of some rows of the item embeddings, where clients touched few of many.

    Attributes:
        rows: ascending item indices [n].
        values: the sums [n, D].
        num_rows: I + 1.
    """

    rows: npt.NDArray[np.int64]
    values: npt.NDArray[np.floating]
    num_rows: int

    def __add__(self, other: "RowSum") -> "RowSum":
        rows = np.union1d(self.rows, other.rows)
        total = np.zeros((len(rows), self.values.shape[1]), self.values.dtype)
        total[np.searchsorted(rows, self.rows)] = self.values
        total[np.searchsorted(rows, other.rows)] += other.values
        return RowSum(rows, total, self.num_rows)

    def dense(self) -> npt.NDArray[np.floating]:
        """Fill in all rows [I + 1, D]."""
        table = np.zeros((self.num_rows, self.values.shape[1]), self.values.dtype)
        table[self.rows] = self.values
        return table


@dataclass(frozen=True, eq=False)
class GatheredPrototypes:
    """All prototypes of several clients under each other [n·K, ..], as ``recluster`` needs them."""

    all: Prototypes

    def __add__(self, other: "GatheredPrototypes") -> "GatheredPrototypes":
        return GatheredPrototypes(
            Prototypes(
                {b: np.concatenate([s, other.all.sums[b]]) for b, s in self.all.sums.items()},
                {b: np.concatenate([c, other.all.counts[b]]) for b, c in self.all.counts.items()},
            )
        )


@dataclass(frozen=True, eq=False)
class GatheredChanges:
    """Changes of the parameters beside each other, each of a client or the mean of a node, for robust aggregations."""

    each: tuple[Arrays, ...]

    def __add__(self, other: "GatheredChanges") -> "GatheredChanges":
        return GatheredChanges(self.each + other.each)


@dataclass(frozen=True, eq=False)
class UpdateSum:
    """The weighted sum of several clients' ``ClientUpdate``: of a chunk, and of chunks up to the whole cohort.

    A client's weight w_c is its number of samples, unless the aggregation has another. Whatever else a client may send
    becomes one more field that can be added.

    ``with_transitions`` adds what never crosses for a client alone.

    Attributes:
        delta: Σ w_c·Δ_c by parameter; empty where changes are gathered.
        weight: Σ w_c.
        item_rows: the item embeddings' part of the sum, if it is not among ``delta``.
        row_weight: Σ w_c over the clients that touched an item row [I + 1], or None.
        changes: the senders' changes Δ_c, or None.
        prototypes: the clients' prototypes as ``reduce_prototypes`` leaves them, or None.
        transitions: the clients' new transitions, each client's with weight 1, or None.
        metrics: sums of the clients' metrics, by the names under which a round reports them.
        upload_bytes: mean size of a client's update on the wire, by part.
        clients: how many clients.
    """

    delta: Arrays
    weight: float
    item_rows: RowSum | None = None
    row_weight: npt.NDArray[np.float64] | None = None
    changes: GatheredChanges | None = None
    prototypes: Prototypes | GatheredPrototypes | None = None
    transitions: TransitionCounts | None = None
    metrics: Mapping[str, Sum] = field(default_factory=dict)
    upload_bytes: Mapping[str, Mean] = field(default_factory=dict)
    clients: int = 1

    def __add__(self, other: "UpdateSum") -> "UpdateSum":
        """Sum both groups of clients; they must not overlap."""
        return UpdateSum(**{part.name: _sum(*(getattr(x, part.name) for x in (self, other))) for part in fields(self)})

    def with_transitions(self, new: TransitionCounts, num_bytes: float) -> "UpdateSum":
        """Add the sum of these clients' new transitions, for which all of them together send so many bytes."""
        sizes = {**self.upload_bytes, "transitions": Mean(num_bytes, float(self.clients))}
        return replace(self, transitions=new, upload_bytes=sizes)

    def as_one_sender(self) -> "UpdateSum":
        """Gather the mean of all these clients as the change of one sender."""
        return replace(self, delta={}, item_rows=None, row_weight=None, changes=GatheredChanges((self.mean_delta(),)))

    def mean_delta(self) -> dict[str, npt.NDArray[np.floating]]:
        """Average the change: Σ w_c·Δ_c / Σ w_c of every parameter."""
        mean: dict[str, npt.NDArray[np.floating]] = {
            name: value / value.dtype.type(self.weight) for name, value in self.delta.items()
        }
        if self.item_rows is not None:
            rows = self.item_rows.dense()
            mean[ITEM_ROWS] = rows / rows.dtype.type(self.weight)
        return mean

    def without_parts(self) -> "UpdateSum":
        """Keep what is reported of a round; nothing that has been applied to the model and the memory."""
        return UpdateSum({}, self.weight, metrics=self.metrics, upload_bytes=self.upload_bytes, clients=self.clients)


@dataclass(frozen=True, eq=False)
class MaskedSum:
    """What some clients of a secure sum send, masked, and added up: words that say nothing until all masks are off.

    Down goes the ``Session`` before it; after it clients reveal shares of what takes masks off.

    Attributes:
        lanes: the words, which wrap around as they are added.
        form: what numbers they stand for.
        senders: the clients.
    """

    lanes: tuple[npt.NDArray[np.unsignedinteger[Any]], ...]
    form: Form
    senders: frozenset[int]

    def __add__(self, other: "MaskedSum") -> "MaskedSum":
        """Sum both groups of clients; they must not overlap."""
        assert self.form == other.form, "sums of different things cannot be added"
        assert not self.senders & other.senders, "a client sends once"
        lanes = tuple(first + second for first, second in zip(self.lanes, other.lanes, strict=True))
        return MaskedSum(lanes, self.form, self.senders | other.senders)

    @property
    def clients(self) -> int:
        """How many clients."""
        return len(self.senders)

    @property
    def num_bytes(self) -> int:
        """Size on the wire of what each of them sent."""
        return sum(lane.nbytes for lane in self.lanes)


def _sum(first: Any, second: Any) -> Any:
    """Add two parts of a sum, mappings by name; None where either lacks the part."""
    if first is None or second is None:
        return None
    if isinstance(first, Mapping):
        return {name: value + second[name] for name, value in first.items()}
    return first + second


def wire_size(arrays: Arrays) -> int:
    """Count the bytes of the arrays as safetensors, dense: row indices would name the history."""
    return _size_of(tuple((name, value.shape, value.dtype.str) for name, value in sorted(arrays.items())))


@functools.cache
def _size_of(layout: tuple[tuple[str, tuple[int, ...], str], ...]) -> int:
    """Count the bytes, which depend on names, shapes and types alone."""
    return len(save({name: np.zeros(shape, dtype) for name, shape, dtype in layout})) if layout else 0


def prototype_size(prototypes: Prototypes | None) -> int:
    """Count the bytes of prototypes as safetensors."""
    if prototypes is None:
        return 0
    named = {f"{block.stored}.sum": value for block, value in prototypes.sums.items()}
    return wire_size(named | {f"{block.stored}.count": value for block, value in prototypes.counts.items()})
