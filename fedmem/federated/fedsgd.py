"""FedSGD: every client takes one full step of plain SGD, many clients at once.

The shared parameters need no copy per client: Σ n_c·Δ_c is the gradient of the summed losses (McMahan et al., AISTATS
2017).
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.config import ExperimentConfig
from fedmem.federated.chunk import Chunk
from fedmem.federated.chunk_batch import ChunkTokens, batch_of
from fedmem.federated.chunk_step import ChunkStep, ClientLosses, remember
from fedmem.federated.dropout import chunk_dropout, dropout_generator
from fedmem.federated.messages import ITEM_ROWS, Arrays, RowSum, UpdateSum
from fedmem.model.preference_retriever import PrototypeVectors
from fedmem.model.recommender import UR4RecV2MoE


def is_fedsgd(config: ExperimentConfig) -> bool:
    """Whether a client's round is a single SGD step over its whole history."""
    training, federated = config.training, config.federated
    return (
        training.optimizer == "sgd"
        and training.batch_size is None
        and federated.local_epochs == 1
        and not federated.row_normalisation  # it asks which rows each client touched
    )


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
        steps = [step for (step,) in chunk.steps(config, round_number)]
        table, rows, ids = model.sasrec.item_embedding, None, None
        tokens = ChunkTokens.of(steps, table.device)
        if config.training.loss != "full_softmax":
            negatives = np.concatenate([step.negatives for step in steps])
            rows = torch.from_numpy(np.union1d(tokens.targets, negatives)).to(table.device)
            ids = table.detach()[rows].requires_grad_()
        batch = batch_of(config, chunk, steps, tokens, tokens.chosen, rows, prototypes, table)
        generators = [dropout_generator(config.seed, round_number, user, 0) for user in chunk.users]
        drop = chunk_dropout(generators, tokens.counts.tolist(), torch.from_numpy(tokens.real))
        model.zero_grad()
        step = ChunkStep.of(model, batch, config, drop, ids)
        step.losses.total.backward()
        client_losses = ClientLosses.zeros(len(chunk))
        client_losses.add(step.losses.recommendation, tokens)
        metrics = remember(config, chunk, tokens, step, round_number) | client_losses.counts()
        return self._sum(chunk, rows, ids, metrics)

    def _sum(self, chunk: Chunk, rows: Tensor | None, ids: Tensor | None, metrics: Mapping[str, float]) -> UpdateSum:
        """The weighted sum, from the gradients that stand."""
        table, samples = self.model.sasrec.item_embedding, float(chunk.samples.sum())
        gradients = {name: p.grad for name, p in self.model.named_parameters()}
        item_rows = None
        if rows is not None and ids is not None and ids.grad is not None:
            if self.config.training.weight_decay:  # which every row feels
                gradients[ITEM_ROWS] = torch.zeros_like(table).index_copy_(0, rows, ids.grad)
            else:
                del gradients[ITEM_ROWS]
                values = -self.config.training.learning_rate * ids.grad
                item_rows = RowSum(rows.cpu().numpy(), values.cpu().numpy(), len(table))
        delta = self._changes(gradients, samples)
        return UpdateSum(delta, samples, item_rows, metrics=metrics, clients=len(chunk))

    def _changes(self, gradients: Mapping[str, Tensor | None], samples: float) -> Arrays:
        """−η·(Σ n_c·∇L_c + weight decay), the weighted sums of the clients' SGD steps."""
        training = self.config.training
        parameters = dict(self.model.named_parameters())

        def change(name: str, gradient: Tensor | None) -> npt.NDArray[np.floating]:
            parameter = parameters[name].detach()
            gradient = torch.zeros_like(parameter) if gradient is None else gradient
            if training.weight_decay:
                gradient = gradient + training.weight_decay * samples * parameter
            return (-training.learning_rate * gradient).cpu().numpy()

        return {name: change(name, gradient) for name, gradient in gradients.items()}
