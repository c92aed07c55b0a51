"""Many clients of a round trained together, with the numbers of ``FedMemClient`` up to the order of additions.

Where a client takes a single SGD step, the shared parameters need no copy per client: Σ n_c·Δ_c is the gradient of the
summed losses. Anything else goes through ``several_steps``, where each client has parameters of its own.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.config import ExperimentConfig
from fedmem.federated.aggregation import (
    ITEM_ROWS,
    CohortSum,
    GatheredPrototypes,
    RowSum,
    reduce_prototypes,
)
from fedmem.federated.chunk import Chunk, ClientLosses, Trained, batch_of, remember
from fedmem.federated.cohort_objective import CohortTokens, cohort_objective
from fedmem.federated.dropout import cohort_dropout, dropout_generator
from fedmem.federated.local_objective import prototype_vectors
from fedmem.federated.messages import Arrays, Broadcast
from fedmem.federated.parameters import load_parameters
from fedmem.federated.several_steps import SeveralSteps
from fedmem.memory.local_memory import FrozenItemBlocks
from fedmem.memory.prototypes import Prototypes, distil_chunk
from fedmem.model.preference_retriever import PrototypeVectors
from fedmem.model.recommender import UR4RecV2MoE


def takes_one_step(config: ExperimentConfig) -> bool:
    """Whether a client's round is a single SGD step over its whole history."""
    training, federated = config.training, config.federated
    return (
        training.optimizer == "sgd"
        and training.batch_size is None
        and federated.local_epochs == 1
        and not federated.row_normalisation  # it asks which rows each client touched
    )


class CohortTrainer:
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
        self._several = None if takes_one_step(config) else SeveralSteps(config, model)
        self._broadcast: Broadcast | None = None
        self._prototypes: PrototypeVectors | None = None

    def train(self, chunk: Chunk, broadcast: Broadcast) -> CohortSum:
        """The local round of every client of a chunk, reduced to their weighted sum; writes their memories."""
        assert np.all(np.diff(chunk.samples) <= 0), "long histories come first"
        self._receive(broadcast)
        trained = (self._several or self._one_step)(chunk, broadcast.round, self._prototypes)
        upload = broadcast.num_bytes()  # an update has the shapes of what was received
        return CohortSum(
            delta=trained.delta,
            item_rows=trained.item_rows,
            weight=float(chunk.samples.sum()),
            row_weight=trained.row_weight,
            prototypes=self._distilled(chunk, broadcast),
            metrics=self._with_occupancy(trained.metrics, chunk),
            upload_bytes={part: float(count * len(chunk)) for part, count in upload.items()},
            clients=len(chunk),
        )

    def _with_occupancy(self, metrics: Mapping[str, float], chunk: Chunk) -> Mapping[str, float]:
        if not self.config.uses_memory:
            return metrics
        return {**metrics, "memory_occupancy": float(chunk.memories.lengths.sum())}

    def _receive(self, broadcast: Broadcast) -> None:
        if broadcast is not self._broadcast:
            load_parameters(self.model, broadcast.parameters)
            self._prototypes = prototype_vectors(broadcast.global_memory, self.model.sasrec.item_embedding)
            self._broadcast = broadcast

    def _distilled(self, chunk: Chunk, broadcast: Broadcast) -> Prototypes | GatheredPrototypes | None:
        if broadcast.global_memory is None:
            return None
        memories, blocks = chunk.memories, self.features
        found = distil_chunk(
            memories.items, memories.id_embedding, blocks.vectors, blocks.masks, broadcast.global_memory
        )
        return reduce_prototypes(found, chunk.samples, self.config.fedmem)

    def _one_step(self, chunk: Chunk, round_number: int, prototypes: PrototypeVectors | None) -> Trained:
        """FedProx's proximal term has no gradient at the shared starting point, so it takes no part."""
        config, model = self.config, self.model
        steps = [step for (step,) in chunk.steps(config, round_number)]
        table, rows, ids = model.sasrec.item_embedding, None, None
        tokens = CohortTokens.of(steps, table.device)
        if config.training.loss != "full_softmax":
            negatives = np.concatenate([step.negatives for step in steps])
            rows = torch.from_numpy(np.union1d(tokens.targets, negatives)).to(table.device)
            ids = table.detach()[rows].requires_grad_()
        batch = batch_of(config, chunk, steps, tokens, tokens.chosen, rows, prototypes, table)
        generators = [dropout_generator(config.seed, round_number, user, 0) for user in chunk.users]
        drop = cohort_dropout(generators, tokens.counts.tolist(), torch.from_numpy(tokens.real))
        model.zero_grad()
        losses = cohort_objective(model, batch, config, drop, ids)
        losses.total.backward()
        client_losses = ClientLosses.zeros(len(chunk))
        client_losses.add(losses, tokens)
        metrics = remember(config, chunk, tokens, losses, round_number) | client_losses.counts()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        if rows is None or ids is None or ids.grad is None:
            return Trained(self._changes(gradients, chunk), None, None, metrics)
        if config.training.weight_decay:  # which every row feels
            gradients[ITEM_ROWS] = torch.zeros_like(table).index_copy_(0, rows, ids.grad)
            return Trained(self._changes(gradients, chunk), None, None, metrics)
        del gradients[ITEM_ROWS]
        values = -config.training.learning_rate * ids.grad
        item_rows = RowSum(rows.cpu().numpy(), values.cpu().numpy(), len(table))
        return Trained(self._changes(gradients, chunk), item_rows, None, metrics)

    def _changes(self, gradients: Mapping[str, Tensor | None], chunk: Chunk) -> Arrays:
        """−η·(Σ n_c·∇L_c + weight decay), the weighted sums of the clients' SGD steps."""
        training, weight = self.config.training, float(chunk.samples.sum())
        parameters = dict(self.model.named_parameters())

        def change(name: str, gradient: Tensor | None) -> npt.NDArray[np.floating]:
            parameter = parameters[name].detach()
            gradient = torch.zeros_like(parameter) if gradient is None else gradient
            if training.weight_decay:
                gradient = gradient + training.weight_decay * weight * parameter
            return (-training.learning_rate * gradient).cpu().numpy()

        return {name: change(name, gradient) for name, gradient in gradients.items()}
