"""ChunkTrainer: the local round of many clients together, and the only client step."""

import functools
from dataclasses import replace

import numpy as np

from fedmem.config import ExperimentConfig
from fedmem.federated.chunk import Chunk
from fedmem.federated.fedsgd import FedSGD
from fedmem.federated.messages import Broadcast, ClientUpdate, GatheredPrototypes, UpdateSum
from fedmem.federated.parameters import load_parameters, prototype_vectors
from fedmem.federated.prototype_aggregation import reduce_prototypes
from fedmem.federated.several_steps import SeveralSteps
from fedmem.federated.single_clients import SingleClients
from fedmem.federated.sums import Mean
from fedmem.federated.training_metrics import memory_metrics
from fedmem.memory.prototypes import FrozenItemBlocks, Prototypes, distil_chunk
from fedmem.model.preference_retriever import PrototypeVectors
from fedmem.model.recommender import UR4RecV2MoE


class ChunkTrainer:
    """Trains chunks of clients, one broadcast after the other.

    Args:
        config: the run's configuration.
        model: is given every broadcast's parameters.
        features: frozen item vectors, looked up when prototypes are distilled.
    """

    def __init__(self, config: ExperimentConfig, model: UR4RecV2MoE, features: FrozenItemBlocks) -> None:
        self.config = config
        self.model = model
        self.features = features
        self._steps = FedSGD(config, model) if config.is_fedsgd else SeveralSteps(config, model)
        self._broadcast: Broadcast | None = None
        self._prototypes: PrototypeVectors | None = None

    def train(self, chunk: Chunk, broadcast: Broadcast) -> UpdateSum:
        """Take every client's local steps and write its memory: the weighted sum of the changes, and metrics."""
        assert np.all(np.diff(chunk.samples) <= 0), "long histories come first"
        self._receive(broadcast)
        trained = self._steps(chunk, broadcast.round, self._prototypes)
        if not self.config.uses_memory:
            return trained
        return replace(trained, metrics={**trained.metrics, **memory_metrics(chunk.memories.lengths)})

    def participate(self, chunk: Chunk, broadcast: Broadcast) -> UpdateSum:
        """Do the whole local round of every client of a chunk, reduced to what is sent of all of them together."""
        trained, clients = self.train(chunk, broadcast), float(len(chunk))
        upload = broadcast.num_bytes()  # an update has the shapes of what was received
        return replace(
            trained,
            prototypes=self._distilled(chunk, broadcast),
            upload_bytes={part: Mean(count * clients, clients) for part, count in upload.items()},
        )

    def participate_each(self, chunk: Chunk, broadcast: Broadcast) -> list[ClientUpdate]:
        """Do the same for a loss over the whole catalogue: what every client sends, with nothing added up."""
        self._receive(broadcast)
        several = self._steps if isinstance(self._steps, SeveralSteps) else self._alone
        trained, found = several.each(chunk, broadcast.round, self._prototypes), self._found(chunk, broadcast)
        updates = []
        for client, (delta, metrics) in enumerate(trained):
            if self.config.uses_memory:
                metrics |= memory_metrics(chunk.memories.lengths[client : client + 1])
            prototypes = None if found is None else found.of_client(client)
            updates.append(ClientUpdate(int(chunk.samples[client]), delta, prototypes, metrics))
        return updates

    @functools.cached_property
    def _alone(self) -> SeveralSteps:
        """Take single steps from the common start, with gradients of each client's own."""
        return SingleClients(self.config, self.model)

    def _receive(self, broadcast: Broadcast) -> None:
        if broadcast is not self._broadcast:
            load_parameters(self.model, broadcast.parameters)
            self._prototypes = prototype_vectors(broadcast.global_memory, self.model.sasrec.item_embedding)
            self._broadcast = broadcast

    def _distilled(self, chunk: Chunk, broadcast: Broadcast) -> Prototypes | GatheredPrototypes | None:
        found = self._found(chunk, broadcast)
        return None if found is None else reduce_prototypes(found, chunk.samples, self.config.fedmem)

    def _found(self, chunk: Chunk, broadcast: Broadcast) -> Prototypes | None:
        """Distil every client's prototypes [C, ..]."""
        if broadcast.global_memory is None:
            return None
        memories, minimum = chunk.memories, self.config.fedmem.minimum_cluster
        return distil_chunk(memories.items, memories.id_embedding, self.features, broadcast.global_memory, minimum)
