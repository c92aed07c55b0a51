"""A client's memory as the original's pseudocode has it: a dict, with the formula's frequency and logical time."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.config import FedMemConfig
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.utility import utility


@dataclass
class SlowMemory:
    """At most ``memory_capacity`` entries by item."""

    config: FedMemConfig
    dim: int
    buffer: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.buffer)

    def update(
        self,
        items: npt.NDArray[np.integer],
        index: npt.NDArray[np.integer],
        surprise: npt.NDArray[np.floating],
        id_embedding: npt.NDArray[np.floating],
        last_index: int,
    ) -> tuple[int, int]:
        """Write what passes the gate, in order; how many were written and how many had to go."""
        written = evicted = 0
        threshold = self.threshold(surprise)
        for item, at, value, embedding in zip(items.tolist(), index.tolist(), surprise, id_embedding, strict=True):
            if not value >= threshold:
                continue
            written += 1
            if item in self.buffer:
                entry = self.buffer[item]
                entry["frequency"] += 1
                entry["index"] = max(entry["index"], at)
                entry["surprise"] = max(entry["surprise"], np.float32(value))
            else:
                if len(self.buffer) >= self.config.memory_capacity:
                    # Of equal utilities the oldest goes.
                    del self.buffer[min(self.buffer, key=lambda i: (self.utility(i, last_index), self.index(i)))]
                    evicted += 1
                self.buffer[item] = {"index": at, "frequency": 1, "surprise": np.float32(value)}
            self.buffer[item]["embedding"] = np.asarray(embedding, np.float32)
        return written, evicted

    def threshold(self, surprise: npt.NDArray[np.floating]) -> np.floating:
        """The gate, in the precision of the surprises."""
        if self.config.surprise_quantile is None or not len(surprise):
            return surprise.dtype.type(self.config.surprise_threshold)
        return surprise.dtype.type(np.quantile(surprise, self.config.surprise_quantile))

    def utility(self, item: int, last_index: int) -> float:
        """What an entry is worth."""
        config = self.config
        return float(
            utility(
                last_index - self.index(item),
                self.buffer[item]["frequency"],
                recency_weight=config.recency_weight,
                frequency_weight=config.frequency_weight,
                decay_time=config.decay_time,
            )
        )

    def index(self, item: int) -> int:
        """The history index of an entry."""
        return self.buffer[item]["index"]

    def entries(self) -> MemoryEntries:
        """All entries, oldest first."""
        rows = sorted((entry["index"], item, entry) for item, entry in self.buffer.items())
        found = [entry for _, _, entry in rows]
        embeddings = [entry["embedding"] for entry in found]
        return MemoryEntries(
            np.array([item for _, item, _ in rows], np.int32),
            np.array([entry["index"] for entry in found], np.int32),
            np.array([entry["frequency"] for entry in found], np.int32),
            np.array([entry["surprise"] for entry in found], np.float32),
            np.array(embeddings, np.float32).reshape(-1, self.dim),
        )

    def restore(self, entries: MemoryEntries) -> None:
        """Hold exactly these entries."""
        columns = entries.items.tolist(), entries.index.tolist(), entries.frequency.tolist()
        self.buffer = {
            item: {"index": at, "frequency": n, "surprise": surprise, "embedding": embedding}
            for item, at, n, surprise, embedding in zip(*columns, entries.surprise, entries.id_embedding, strict=True)
        }
