"""How many clients a chunk holds: as many as are asked for, or fewer where one operation on them would take too long.

A stop is heeded between two operations, never within one, so the longest decides how soon.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig
from fedmem.features.store import ItemFeatures
from fedmem.interruption import MOST_WORK, PER_TOKEN

UserIndices = npt.NDArray[np.int64]

LONG_HISTORY = 3_000  # training items; a chunk of clients with longer ones has fewer clients
PER_ITEM = 512  # as PER_TOKEN, of a number of the table of items


@dataclass(frozen=True)
class ChunkSizes:
    """What bounds a chunk.

    Attributes:
        clients: at most, whatever their histories.
        tokens: positions of their histories at most, padded to the longest; a single client's may be more.
    """

    clients: int
    tokens: int

    @classmethod
    def of(cls, config: ExperimentConfig, features: ItemFeatures) -> "ChunkSizes":
        """Bound the tokens, and the clients where each has parameters of its own, and so a table of items."""
        dim, size = config.model.sasrec_hidden_dim, config.clients_together
        tokens = MOST_WORK // (dim * max(dim, config.model.max_seq_len, PER_TOKEN))
        if config.secure_sums.enabled or not config.is_fedsgd:
            widths = [len(one.mean) for one in features.vectors.values()]
            table = (features.num_items + 1) * dim * max(dim, PER_ITEM, *widths)
            size = max(1, min(size, MOST_WORK // table))
        return cls(size, min(size * LONG_HISTORY, tokens))

    def chunks(self, clients: UserIndices, lengths: UserIndices) -> Iterator[UserIndices]:
        """Yield the clients chunk by chunk; ``lengths`` are their training items, the longest first."""
        first = 0
        while first < len(clients):
            count = max(1, min(self.clients, self.tokens // int(lengths[first])))
            yield clients[first : first + count]
            first += count
