"""FedSGD: every client takes one full step of plain SGD, many clients at once.

The shared parameters need no copy per client: Σ w_c·Δ_c is the gradient of the weighted losses (McMahan et al., AISTATS
2017).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.config import ExperimentConfig
from fedmem.federated.aggregation import AGGREGATIONS
from fedmem.federated.chunk import Chunk
from fedmem.federated.chunk_batch import ChunkTokens, batch_of
from fedmem.federated.chunk_step import ChunkStep, ClientLosses, measured, remember
from fedmem.federated.dropout import chunk_dropout, dropout_generator
from fedmem.federated.local_steps import LocalStep, LocalSteps
from fedmem.federated.messages import ITEM_ROWS, Arrays, RowSum, UpdateSum
from fedmem.federated.objective import Objective
from fedmem.model.preference_retriever import PrototypeVectors
from fedmem.model.recommendation_losses import LOSSES
from fedmem.model.recommender import UR4RecV2MoE


class FedSGD:
    """Trains chunks whose clients take one step of plain SGD.

    Args:
        config: the run's configuration.
        model: holds the broadcast's parameters whenever a chunk is trained; only its gradients change.
    """

    def __init__(self, config: ExperimentConfig, model: UR4RecV2MoE) -> None:
        self.config = config
        self.model = model

    def __call__(self, chunk: Chunk, round_number: int, prototypes: PrototypeVectors | None) -> UpdateSum:
        """Train the clients of a chunk: the weighted sum of their steps, and their metrics.

        FedProx's proximal term has no gradient at the shared starting point, so it takes no part.
        """
        config, model = self.config, self.model
        steps = [step for (step,) in chunk.steps(LocalSteps.of(config), round_number)]
        like = model.sasrec.item_embedding
        tokens = ChunkTokens.of(steps, like.device)
        rows, ids = self._taken_out(tokens, steps)
        weights = AGGREGATIONS[config.federated.aggregation_method].weight(chunk.samples)
        by_token = tokens.chosen * (weights / chunk.samples)[:, None]  # of a client's n_c tokens, w_c together
        batch = batch_of(
            chunk,
            steps,
            tokens,
            by_token,
            rows,
            prototypes,
            model.sasrec.item_embedding,
            reads_memory=config.uses_memory,
        )
        generators = [dropout_generator(config.seed, round_number, user, 0) for user in chunk.users]
        drop = chunk_dropout(generators, tokens.counts.tolist(), torch.from_numpy(tokens.real).to(like.device))
        model.zero_grad()
        step = ChunkStep.of(Objective.of(config), model, batch, drop, ids)
        step.losses.total.backward()
        client_losses = ClientLosses.zeros(len(chunk))
        client_losses.add(step.losses.recommendation, tokens)
        writes = remember(config.fedmem, config.seed, chunk, tokens, step, round_number)
        metrics = measured(tokens, step, writes)
        metrics |= client_losses.metrics()
        weight = float(weights.sum())
        delta, item_rows = self._sum(weight, rows, ids)
        return UpdateSum(delta, weight, item_rows, metrics=metrics, clients=len(chunk))

    def _taken_out(self, tokens: ChunkTokens, steps: Sequence[LocalStep]) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Take out the item rows that the loss touches [n] and their embeddings [n, D]; none where it touches all."""
        if LOSSES[self.config.training.loss].whole_catalogue:
            return None, None
        table = self.model.sasrec.item_embedding
        negatives = np.concatenate([step.negatives for step in steps])
        rows = torch.from_numpy(np.union1d(tokens.targets, negatives)).to(table.device)
        return rows, table.detach()[rows].requires_grad_()

    def _sum(self, weight: float, rows: Tensor | None, ids: Tensor | None) -> tuple[Arrays, RowSum | None]:
        """Return the weighted sum, from the gradients that are there."""
        table = self.model.sasrec.item_embedding
        gradients = {name: p.grad for name, p in self.model.named_parameters()}
        item_rows = None
        if rows is not None and ids is not None and ids.grad is not None:
            if self.config.training.weight_decay:  # which every row feels
                gradients[ITEM_ROWS] = torch.zeros_like(table).index_copy_(0, rows, ids.grad)
            else:
                del gradients[ITEM_ROWS]
                values = -self.config.training.learning_rate * ids.grad
                item_rows = RowSum(rows.cpu().numpy(), values.cpu().numpy(), len(table))
        return self._changes(gradients, weight), item_rows

    def _changes(self, gradients: Mapping[str, Tensor | None], weight: float) -> Arrays:
        """Compute −η·(Σ w_c·∇L_c + weight decay), the weighted sums of the clients' SGD steps."""
        training = self.config.training
        parameters = dict(self.model.named_parameters())

        def change(name: str, gradient: Tensor | None) -> npt.NDArray[np.floating]:
            parameter = parameters[name].detach()
            gradient = torch.zeros_like(parameter) if gradient is None else gradient
            if training.weight_decay:
                gradient = gradient + training.weight_decay * weight * parameter
            return (-training.learning_rate * gradient).cpu().numpy()

        return {name: change(name, gradient) for name, gradient in gradients.items()}
