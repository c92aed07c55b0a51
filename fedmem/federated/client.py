"""FedMemClient: one user's device, which is a chunk of one client.

It trains on its own history, remembers surprises and distils prototypes with the very step that chunks of many take.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fedmem.config import FedMemConfig
from fedmem.federated.chunk import Chunk
from fedmem.federated.chunk_trainer import ChunkTrainer
from fedmem.federated.messages import Broadcast, ClientUpdate, UpdateSum
from fedmem.federated.sums import Sum
from fedmem.memory.local_memory import LocalDynamicMemory
from fedmem.memory.prototypes import Prototypes


class FedMemClient:
    """One user.

    Args:
        config: how its memory is written.
        chunk: the user alone: history, memory and preference text.
    """

    def __init__(self, config: FedMemConfig, chunk: Chunk) -> None:
        self.chunk = chunk
        self.memory = LocalDynamicMemory(config, chunk.memories)
        self._received: tuple[ChunkTrainer, Broadcast] | None = None
        self._trained: UpdateSum | None = None

    def receive_model(self, trainer: ChunkTrainer, broadcast: Broadcast) -> None:
        """Take the global model and the global abstract memory; the trainer, with its model, is lent for the round."""
        self._received = trainer, broadcast
        self.memory.global_memory = broadcast.global_memory

    def release_model(self) -> None:
        """Forget the model and what was trained; the memory stays."""
        self._received = self._trained = None

    def train_local_model(self) -> Mapping[str, Sum]:
        """Train on the client's own data and write its memory; returns the sums of its metrics."""
        trainer, broadcast = self._lent()
        self._trained = trainer.train(self.chunk, broadcast)
        return self._trained.metrics

    def get_model_parameters(self) -> dict[str, npt.NDArray[np.floating]]:
        """Tell the change Δθ of every parameter since the broadcast."""
        assert self._trained is not None, "train_local_model comes first"
        return self._trained.mean_delta()

    def get_memory_prototypes(self) -> Prototypes | None:
        """Distil the memory into K (sum, count) pairs; None where prototypes take no part."""
        trainer, broadcast = self._lent()
        if broadcast.global_memory is None:
            return None
        return self.memory.extract_prototypes(broadcast.global_memory, trainer.features)

    def participate(self, trainer: ChunkTrainer, broadcast: Broadcast) -> ClientUpdate:
        """Take part in a round: receive, train, remember, distil, and what is sent back."""
        self.receive_model(trainer, broadcast)
        metrics = self.train_local_model()
        samples = int(self.chunk.samples[0])
        update = ClientUpdate(samples, self.get_model_parameters(), self.get_memory_prototypes(), metrics)
        self.release_model()
        return update

    def _lent(self) -> tuple[ChunkTrainer, Broadcast]:
        assert self._received is not None, "receive_model comes first"
        return self._received
