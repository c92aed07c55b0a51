"""Sums of what clients measure: each carries what it takes to be read, so that none is divided by another."""

from dataclasses import dataclass
from typing import Protocol, Self


class Sum(Protocol):
    """What adds up over steps and clients, and is then reported."""

    def __add__(self, other: Self, /) -> Self:
        """Sum both groups, which must not overlap."""
        ...

    def report(self, name: str) -> dict[str, float]:
        """Return the result under the metric's name, or under names derived from it."""
        ...


@dataclass(frozen=True)
class Mean:
    """A mean: the sum of some values and how many, or their sum of weights."""

    total: float
    weight: float

    def __add__(self, other: "Mean") -> "Mean":
        return Mean(self.total + other.total, self.weight + other.weight)

    @property
    def value(self) -> float:
        """total / weight."""
        return self.total / self.weight

    def report(self, name: str) -> dict[str, float]:
        """Report the mean."""
        return {name: self.value}


@dataclass(frozen=True)
class Total:
    """A number that is reported as it adds up."""

    value: float

    def __add__(self, other: "Total") -> "Total":
        return Total(self.value + other.value)

    def report(self, name: str) -> dict[str, float]:
        """Report the total."""
        return {name: self.value}
