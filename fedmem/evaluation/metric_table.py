"""Metrics of many users: as sums that clients may add up, and as a table of means with standard errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fedmem.errors import ConfigError, DataError
from fedmem.evaluation.ranking_metrics import FloatArray, IntArray, hit_ratio, ndcg, reciprocal_rank, standard_error

Metric = Literal["HR", "NDCG", "MRR"]

K_LIST = (5, 10, 20)
METRICS: tuple[Metric, ...] = ("HR", "NDCG", "MRR")


def metric_names(k_list: Sequence[int] = K_LIST, metrics: Sequence[str] = METRICS) -> list[str]:
    """Names in table order, such as HR@5, HR@10, NDCG@5, NDCG@10, MRR (which has no cut-off)."""
    return [name for metric in metrics for name in ([metric] if metric == "MRR" else [f"{metric}@{k}" for k in k_list])]


def metric_values(name: str, ranks: FloatArray) -> FloatArray:
    """One metric, such as ``NDCG@10`` or ``MRR``, of each rank [B]; ``ConfigError`` if there is no such metric."""
    metric, _, cut_off = name.partition("@")
    if metric == "MRR" and not cut_off:
        return reciprocal_rank(ranks)
    if metric not in ("HR", "NDCG") or not cut_off.isdecimal() or int(cut_off) < 1:
        raise ConfigError(f"there is no metric {name!r}; use HR@k or NDCG@k with k of at least 1, or MRR")
    return (hit_ratio if metric == "HR" else ndcg)(ranks, int(cut_off))


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
        """Mean over users; ``ConfigError`` if the metric was not measured."""
        return self._value(name)[0]

    def standard_error(self, name: str) -> float:
        """Standard error of the mean over users, NaN for a single user."""
        return self._value(name)[1]

    def per_user(self, name: str) -> FloatArray:
        """The metric of each user in ``users``, any cut-off; empty where the table was made of sums."""
        return metric_values(name, self.ranks)

    def to_dict(self) -> dict[str, object]:
        """As JSON knows it: {num_users, metrics: {name: {mean, standard_error}}}, an undefined error being null."""
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
class MetricSums:
    """Sum and sum of squares of each metric over ``count`` users: all that leaves a client when it evaluates."""

    sums: Mapping[str, float]
    squares: Mapping[str, float]
    count: int

    @classmethod
    def of(cls, ranks: FloatArray, k_list: Sequence[int] = K_LIST, metrics: Sequence[str] = METRICS) -> "MetricSums":
        """The sums of these ranks [B]; B may be 1 (one client) or 0."""
        values = {name: metric_values(name, ranks) for name in metric_names(k_list, metrics)}
        return cls(
            sums={name: float(value.sum()) for name, value in values.items()},
            squares={name: float(np.square(value).sum()) for name, value in values.items()},
            count=len(ranks),
        )

    def __add__(self, other: "MetricSums") -> "MetricSums":
        """The sums over both groups of users, which must not overlap and must share their metrics."""
        assert self.sums.keys() == other.sums.keys(), "sums of different metrics cannot be added"
        return MetricSums(
            sums={name: value + other.sums[name] for name, value in self.sums.items()},
            squares={name: value + other.squares[name] for name, value in self.squares.items()},
            count=self.count + other.count,
        )

    def table(self) -> MetricTable:
        """Means x̄ = Σx / n and standard errors √((Σx² − n·x̄²) / (n(n − 1))); ``DataError`` if no user was counted."""
        if self.count == 0:
            raise DataError("no user was evaluated: every user is shorter than data.min_sequence_length or excluded")
        return MetricTable({name: self._mean_and_error(name) for name in self.sums}, self.count)

    def _mean_and_error(self, name: str) -> tuple[float, float]:
        mean = self.sums[name] / self.count
        if self.count < 2:
            return mean, float("nan")
        # Cancellation may leave a tiny negative where all values are equal.
        spread = max(self.squares[name] - self.count * mean**2, 0.0)
        return mean, float(np.sqrt(spread / (self.count * (self.count - 1))))


def paired_difference(first: MetricTable, second: MetricTable, name: str) -> tuple[float, float]:
    """Mean and standard error over users of (first − second), the two tables being of the same users in order.

    Far sharper than two separate errors, as most of the spread between users is common to both rankings.
    """
    if len(first.ranks) == 0 or not np.array_equal(first.users, second.users):
        raise DataError(
            f"a paired difference needs both tables to hold the ranks of the same users, and they hold "
            f"{len(first.ranks)} and {len(second.ranks)}: evaluate both with the same data set, split and users"
        )
    difference = first.per_user(name) - second.per_user(name)
    return float(difference.mean()), standard_error(difference)
