"""All clients of a data set in one process: the population that the server trains and evaluates.

Nothing crosses between the two but messages; the disk and memory of this process stand in for the devices'.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from fedmem.config import ExperimentConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import ConfigError
from fedmem.evaluation.evaluate import evaluate
from fedmem.evaluation.metric_table import MetricSums
from fedmem.features.store import ItemFeatures, UserFeatures
from fedmem.federated.aggregation import CohortSum, OptimizerState
from fedmem.federated.client import FedMemClient
from fedmem.federated.cohort import takes_one_step, train_chunk
from fedmem.federated.messages import Broadcast
from fedmem.federated.parameters import load_parameters, parameter_arrays
from fedmem.federated.scoring import ModelScorer
from fedmem.federated.server import ServerState
from fedmem.memory.local_memory import FrozenItemBlocks, LocalDynamicMemory, MemoryEntries
from fedmem.memory.prototypes import Prototypes, from_catalogue
from fedmem.model.recommender import FrozenFeatures, UR4RecV2MoE
from fedmem.randomness import numpy_generator, torch_generator

UserIndices = npt.NDArray[np.int64]


def frozen_features(features: ItemFeatures) -> FrozenFeatures:
    """The item features as the model takes them."""

    def pair(rows: npt.NDArray[np.float32] | None, mask: npt.NDArray[np.bool_]) -> Sequence[torch.Tensor | None]:
        return (None, None) if rows is None else (torch.from_numpy(rows), torch.from_numpy(mask))

    return FrozenFeatures(*pair(features.text, features.text_mask), *pair(features.image, features.image_mask))


def build_model(config: ExperimentConfig, num_items: int, features: ItemFeatures) -> UR4RecV2MoE:
    """The global model with its starting weights, drawn from the seed.

    Raises:
        ConfigError: if the configured device is not to be had.
    """
    check_device(config.device)
    model = UR4RecV2MoE(
        config.model,
        num_items,
        frozen_features(features),
        use_retriever=config.uses_retriever,
        use_contrastive=config.uses_contrastive,
    )
    model.initialise(torch_generator(config.seed, "weights"))
    return model.to(config.device)


def check_device(device: str) -> None:
    """Raise ConfigError if the device is not to be had."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:80]
        raise ConfigError(f"device = {device!r} cannot be used ({reason}): choose cpu, cuda or cuda:0.") from None


def item_blocks(features: ItemFeatures) -> FrozenItemBlocks:
    """The frozen vectors that prototypes are made of, by block."""
    vectors = {"text": features.text, "image": features.image}
    masks = {"text": features.text_mask, "image": features.image_mask}
    present = {name: rows for name, rows in vectors.items() if rows is not None}
    return FrozenItemBlocks(present, {name: masks[name] for name in present})


def initial_state(config: ExperimentConfig, model: UR4RecV2MoE, features: ItemFeatures) -> ServerState:
    """The server before the first round, with prototypes of the public catalogue."""
    parameters = parameter_arrays(model)
    memory = initial_prototypes(config, model, features) if config.uses_prototypes else None
    return ServerState(0, parameters, parameters, OptimizerState.zeros(parameters), memory)


def initial_prototypes(config: ExperimentConfig, model: UR4RecV2MoE, features: ItemFeatures) -> Prototypes:
    """k-means++ on the catalogue's features; the id block is that of the untrained model."""
    catalogue = item_blocks(features)
    with torch.no_grad():
        ids = model.item_table().embedding[1:].float().cpu().numpy()
    blocks = {name: rows[1:] for name, rows in catalogue.vectors.items()} | {"id": ids}
    masks = {name: mask[1:] for name, mask in catalogue.masks.items()} | {"id": np.ones(len(ids), bool)}
    return from_catalogue(
        blocks, masks, config.fedmem.num_memory_prototypes, numpy_generator(config.seed, "prototypes")
    )


@dataclass(frozen=True, eq=False)
class ClientScorer:
    """Each user's scores as its own client computes them."""

    scorer: ModelScorer
    clients: Mapping[int, FedMemClient]

    def score(
        self, users: npt.NDArray[np.integer], histories: Sequence[npt.NDArray[np.integer]]
    ) -> npt.NDArray[np.float32]:
        """Scores [B, I + 1] of users [B] with their histories."""
        return self.scorer.score([self.clients[int(user)].context() for user in users], histories)


class SimulatedPopulation:
    """Every trainable user of a data set as a client.

    Args:
        config: the run's configuration.
        dataset: all users' sequences.
        features: frozen item features.
        user_features: encoded preference texts.
        model: the one model that clients are lent in turn.
        reference: train one client at a time, as the paper's pseudocode does, even where a faster way exists.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        dataset: FederatedDataset,
        features: ItemFeatures,
        user_features: UserFeatures,
        model: UR4RecV2MoE,
        *,
        reference: bool = False,
    ) -> None:
        self.config = config
        self.dataset = dataset
        self.model = model
        self.chunked = takes_one_step(config) and not reference
        blocks = item_blocks(features)
        self.clients = {
            user: FedMemClient(
                user,
                dataset.client(user),
                LocalDynamicMemory(config.fedmem, config.model.sasrec_hidden_dim),
                config,
                blocks,
                user_features.of(user),
            )
            for user in dataset.trainable_users.tolist()
        }

    def train(self, clients: UserIndices, broadcast: Broadcast) -> Iterator[CohortSum]:
        """Train the clients; chunks of similar history length, planned from the cohort alone."""
        ordered = sorted(clients.tolist(), key=lambda user: (len(self.clients[user].data.history), user))
        size = self.config.federated.chunk_size
        for first in range(0, len(ordered), size):
            chunk = [self.clients[user] for user in ordered[first : first + size]]
            if self.chunked:
                yield train_chunk(chunk, self.model, broadcast)
            else:
                yield from (CohortSum.of(client.participate(self.model, broadcast)) for client in chunk)

    def evaluate(self, broadcast: Broadcast, split: Literal["validation", "test"]) -> MetricSums:
        """Every client ranks its own target with its own history and memory; the sums over clients."""
        load_parameters(self.model, broadcast.parameters)
        scorer = ClientScorer(ModelScorer(self.model, broadcast.global_memory), self.clients)
        evaluation = self.config.evaluation
        return MetricSums.of(evaluate(self.dataset, scorer, split).ranks, evaluation.k_list, evaluation.metrics)

    def restore_memories(self, memories: Mapping[int, MemoryEntries]) -> None:
        """Give every client the memory it had at a checkpoint; a client that is not named had none."""
        for user, client in self.clients.items():
            client.memory = LocalDynamicMemory(self.config.fedmem, self.config.model.sasrec_hidden_dim)
            if user in memories:
                client.memory.restore(memories[user])
