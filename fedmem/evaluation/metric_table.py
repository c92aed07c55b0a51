"""Metrics of many users: as sums that clients may add up, and as a table of means with standard errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedmem.config import EvaluationConfig
from fedmem.errors import ConfigError, DataError
from fedmem.evaluation.ranking_metrics import RANKING_METRICS, FloatArray, IntArray, standard_error

K_LIST: Sequence[int] = EvaluationConfig().k_list
METRICS: Sequence[str] = EvaluationConfig().metrics


def metric_names(k_list: Sequence[int] = K_LIST, metrics: Sequence[str] = METRICS) -> list[str]:
    """List the metrics' names in table order, such as HR@5, HR@10, NDCG@5, NDCG@10, MRR (which has no cut-off)."""
    return [name for metric in metrics for name in RANKING_METRICS[metric].names(k_list)]


def metric_values(name: str, ranks: FloatArray) -> FloatArray:
    """Compute one metric, such as ``NDCG@10`` or ``MRR``, of each rank [B]; ``ConfigError`` if it does not exist."""
    known, at, cut_off = name.partition("@")
    metric = RANKING_METRICS.get(known)
    if metric is not None and not at and not metric.cut_off:
        return metric.of(ranks)
    if metric is None or not metric.cut_off or not cut_off.isdecimal() or int(cut_off) < 1:
        raise ConfigError(f"there is no metric {name!r}; use {_forms()}, with k of at least 1")
    return metric.of(ranks, int(cut_off))


def _forms() -> str:
    *others, last = (f"{metric.name}@k" if metric.cut_off else metric.name for metric in RANKING_METRICS.values())
    return f"{', '.join(others)} or {last}"


@dataclass(frozen=True, eq=False)
class MetricTable:
    """Mean and standard error over users of each metric; ``ranks[b]`` is user ``users[b]``'s rank, where known.

    Users and ranks are empty in a table made of sums alone (a server that sees no client's rank).
    """

    values: Mapping[str, tuple[float, float]]
    num_users: int
    users: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    ranks: FloatArray = field(default_factory=lambda: np.zeros(0))

    def mean(self, name: str) -> float:
        """Return the mean over users; ``ConfigError`` if the metric was not measured."""
        return self._value(name)[0]

    def standard_error(self, name: str) -> float:
        """Return the standard error of the mean over users, NaN for a single user."""
        return self._value(name)[1]

    def per_user(self, name: str) -> FloatArray:
        """Compute the metric, at any cut-off, of each user in ``users``; empty if the table was made from sums."""
        return metric_values(name, self.ranks)

    def to_dict(self) -> dict[str, object]:
        """Return a JSON object {num_users, metrics: {name: {mean, standard_error}}}; an undefined error is null."""
        metrics = {
            name: {"mean": mean, "standard_error": None if np.isnan(error) else error}
            for name, (mean, error) in self.values.items()
        }
        return {"num_users": self.num_users, "metrics": metrics}

    def _value(self, name: str) -> tuple[float, float]:
        if name not in self.values:
            raise ConfigError(f"the metric {name!r} was not measured; this table has {', '.join(self.values)}")
        return self.values[name]


@dataclass(frozen=True)
class Moments:
    """One metric over some users: Σx, Σx² and their number, which add up over groups of users."""

    total: float
    squares: float
    count: int

    @classmethod
    def of(cls, values: FloatArray) -> "Moments":
        """Sum the values [B] of these users."""
        return cls(float(values.sum()), float(np.square(values).sum()), len(values))

    def __add__(self, other: "Moments") -> "Moments":
        """Add the moments of two groups of users, which must not overlap."""
        return Moments(self.total + other.total, self.squares + other.squares, self.count + other.count)

    @property
    def mean(self) -> float:
        """x̄ = Σx / n."""
        return self.total / self.count

    @property
    def standard_error(self) -> float:
        """√((Σx² − n·x̄²) / (n(n − 1))), NaN for a single user."""
        if self.count < 2:
            return float("nan")
        # Cancellation may leave a tiny negative where all values are equal.
        spread = max(self.squares - self.count * self.mean**2, 0.0)
        return float(np.sqrt(spread / (self.count * (self.count - 1))))


@dataclass(frozen=True)
class MetricSums:
    """Each metric's moments over some users, by name: all that leaves a client when it evaluates.

    Attributes:
        moments: of the model without the transition memory.
        fused: of the model with it, by the weight of the transition memory.
        short: of one metric, by the length to which histories were cut and that weight.
    """

    moments: Mapping[str, Moments]
    fused: Mapping[float, "MetricSums"] = field(default_factory=dict)
    short: Mapping[int, Mapping[float, Moments]] = field(default_factory=dict)

    @classmethod
    def of(cls, ranks: FloatArray, k_list: Sequence[int] = K_LIST, metrics: Sequence[str] = METRICS) -> "MetricSums":
        """Sum the metrics of these ranks [B]; B may be 1 (one client) or 0."""
        return cls({name: Moments.of(metric_values(name, ranks)) for name in metric_names(k_list, metrics)})

    def __add__(self, other: "MetricSums") -> "MetricSums":
        """Add the sums of two groups of users, which must not overlap and must share their metrics."""
        assert self.moments.keys() == other.moments.keys(), "sums of different metrics cannot be added"
        return MetricSums(
            {name: found + other.moments[name] for name, found in self.moments.items()},
            {strength: sums + other.fused[strength] for strength, sums in self.fused.items()},
            {
                length: {strength: moments + other.short[length][strength] for strength, moments in found.items()}
                for length, found in self.short.items()
            },
        )

    @property
    def count(self) -> int:
        """How many users."""
        return next(iter(self.moments.values())).count

    def table(self) -> MetricTable:
        """Return means and standard errors, without the transition memory; ``DataError`` if no user was counted."""
        if self.count == 0:
            raise DataError("no user was evaluated: every user is shorter than data.min_sequence_length or excluded")
        return MetricTable({name: (m.mean, m.standard_error) for name, m in self.moments.items()}, self.count)

    def tables(self) -> dict[float, MetricTable]:
        """Return them by the weight of the transition memory, of which 0 is without it."""
        return {0.0: self.table(), **{strength: sums.table() for strength, sums in self.fused.items()}}


def paired_difference(first: MetricTable, second: MetricTable, name: str) -> tuple[float, float]:
    """Return mean and standard error of (first − second) over users; both tables hold the same users in order.

    Far sharper than two separate errors, as most of the spread between users is common to both rankings.
    """
    if len(first.ranks) == 0 or not np.array_equal(first.users, second.users):
        raise DataError(
            f"a paired difference needs both tables to hold the ranks of the same users, and they hold "
            f"{len(first.ranks)} and {len(second.ranks)}: evaluate both with the same data set, split and users"
        )
    difference = first.per_user(name) - second.per_user(name)
    return float(difference.mean()), standard_error(difference)
