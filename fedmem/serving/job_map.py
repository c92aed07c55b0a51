"""A job's catalogue on the map that its prototypes are shown on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedmem.checkpoint import RunDirectory
from fedmem.data.interactions import Item


@dataclass(frozen=True, eq=False)
class JobMap:
    """The items of a run by index 1..I, and their places.

    Attributes:
        items: ``items[i - 1]`` has index i, as in a prototype's nearest items.
        points: places on the map [I, 2], NaN for an item without; None before the first prototypes are there.
    """

    items: tuple[Item, ...]
    points: npt.NDArray[np.float32] | None

    @classmethod
    def read(cls, path: Path) -> "JobMap":
        """Read the map of a run directory; it is empty where no run has begun.

        Raises:
            CheckpointError: if it is damaged.
        """
        directory = RunDirectory(path)
        if not directory.exists:
            return cls((), None)
        drawn = directory.read_map()
        return cls(directory.read_dataset().items, None if drawn is None else drawn.points)

    def item(self, index: int) -> Item | None:
        """Look up the item of an index in 1..I; None where the run's folder is gone, and its items are unknown."""
        return self.items[index - 1] if index <= len(self.items) else None

    def placed(self) -> list[tuple[Item, float, float]]:
        """List the items that have a place, each with its two coordinates."""
        points = np.zeros((0, 2), np.float32) if self.points is None else self.points
        rows = zip(self.items, points.tolist(), strict=False)
        return [(item, x, y) for item, (x, y) in rows if np.isfinite(x)]
