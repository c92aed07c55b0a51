"""Where the name of a level stands: at that end and on that side of it where the curves leave it most room."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Literal, NamedTuple, get_args

import numpy as np

Place = Literal["right above", "left above", "right below", "left below"]
PLACES: tuple[Place, ...] = get_args(Place)  # of those with as much room, the first
NEAR = 0.08  # of the height: from a level to the middle of its name
LONG = 0.45  # of the width: as far as a name may reach
LOOKED_AT = 7  # points of each curve along a name


class Point(NamedTuple):
    """A value of a curve."""

    series: str
    round: float
    value: float


def places(levels: Sequence[float], curves: Iterable[Point], bottom: float, height: float) -> list[Place]:
    """Choose a place for the name of each level; names and other levels are in each other's way as well.

    Args:
        levels: values of the levels.
        curves: points of all curves, whatever they are.
        bottom: the lowest value that there is room for.
        height: of what is drawn, in the same unit.
    """
    along = _along(curves)
    taken: dict[str, list[float]] = {end: list(along[end]) for end in ("left", "right")}
    chosen: list[Place] = []
    for number, level in enumerate(levels):
        others = [other for at, other in enumerate(levels) if at != number]
        room = {}
        for place in PLACES:
            middle = _middle(place, level, height)
            in_the_way = [*taken[place.split()[0]], *others]
            fits = middle - NEAR * height >= bottom  # half of the letters' height, where a legend leaves little
            room[place] = min([abs(value - middle) for value in in_the_way], default=height) if fits else -1.0
        best = max(PLACES, key=lambda place: round(room[place] / height, 3))
        taken[best.split()[0]].append(_middle(best, level, height))
        chosen.append(best)
    return chosen


def _middle(place: Place, level: float, height: float) -> float:
    return level + (NEAR if place.endswith("above") else -NEAR) * height


def _along(curves: Iterable[Point]) -> dict[str, list[float]]:
    """Follow each curve along the first and the last part of all rounds: its values there."""
    by_series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for point in curves:
        by_series[point.series].append((point.round, point.value))
    rounds = [at for points in by_series.values() for at, _ in points]
    found: dict[str, list[float]] = {"left": [], "right": []}
    if not rounds:
        return found
    first, last = min(rounds), max(rounds)
    reach = LONG * (last - first)
    ends = {"left": np.linspace(first, first + reach, LOOKED_AT), "right": np.linspace(last - reach, last, LOOKED_AT)}
    for points, (end, grid) in product(by_series.values(), ends.items()):
        at, values = zip(*sorted(points), strict=True)
        looked_at = np.concatenate([grid, at])
        within = looked_at[(looked_at >= max(at[0], grid[0])) & (looked_at <= min(at[-1], grid[-1]))]
        found[end] += np.interp(within, at, values).tolist()
    return found
