"""Several clients in one forward and backward pass, for the configuration where each takes one SGD step.

One step from shared parameters needs no copy per client: Σ n_c·Δ_c is the gradient of the summed losses. The numbers
are those of ``FedMemClient``, up to the order of additions.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fedmem.config import ExperimentConfig
from fedmem.federated.aggregation import CohortSum
from fedmem.federated.client import FedMemClient
from fedmem.federated.local_objective import LocalStep, LossSums, collate, local_objective, prototype_vectors
from fedmem.federated.messages import Broadcast, ClientUpdate
from fedmem.federated.parameters import load_parameters
from fedmem.model.recommender import UR4RecV2MoE
from fedmem.model.sasrec import Dropout


def takes_one_step(config: ExperimentConfig) -> bool:
    """Whether a client's round is a single SGD step over its whole history."""
    training, federated = config.training, config.federated
    return (
        training.optimizer == "sgd"
        and training.batch_size is None
        and federated.local_epochs == 1
        and not federated.row_normalisation  # it asks which rows each client touched
    )


def train_chunk(clients: Sequence[FedMemClient], model: UR4RecV2MoE, broadcast: Broadcast) -> CohortSum:
    """One local step of every client of a chunk, reduced to their weighted sum.

    FedProx's proximal term has no gradient at the shared starting point, so it takes no part.
    """
    config = clients[0].config
    load_parameters(model, broadcast.parameters)
    for client in clients:
        client.memory.global_memory = broadcast.global_memory
    steps = [next(client.local_steps(broadcast.round)) for client in clients]
    like = model.sasrec.item_embedding
    batch = collate(steps, prototype_vectors(broadcast.global_memory, like), like, model.text_dim)
    model.zero_grad(set_to_none=True)
    losses = local_objective(model, batch, config, cohort_dropout(clients, steps, broadcast.round))
    losses.total.backward()
    metrics = losses.metrics() | _remember(clients, steps, losses, broadcast.round)
    weight = sum(step.num_samples for step in steps)
    delta = {name: _step(parameter, weight, config) for name, parameter in model.named_parameters()}
    prototypes = [client.get_memory_prototypes() for client in clients]
    # Every client's update has the shapes of this one, so that one is measured for all.
    size = ClientUpdate(weight, delta, prototypes[0]).num_bytes()
    return CohortSum(
        delta=delta,
        weight=float(weight),
        prototypes=[(p, float(step.num_samples)) for p, step in zip(prototypes, steps, strict=True) if p is not None],
        metrics=metrics,
        upload_bytes={part: float(count * len(clients)) for part, count in size.items()},
        clients=len(clients),
    )


def _step(parameter: torch.nn.Parameter, weight: int, config: ExperimentConfig) -> np.ndarray:
    """−η·(Σ n_c·∇L_c + weight decay), the weighted sum of the clients' SGD steps."""
    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    if config.training.weight_decay:
        gradient = gradient + config.training.weight_decay * weight * parameter.detach()
    return (-config.training.learning_rate * gradient).cpu().numpy()


def _remember(
    clients: Sequence[FedMemClient], steps: Sequence[LocalStep], losses: LossSums, round_number: int
) -> dict[str, float]:
    """Write every client's memory from its own rows of the batch; sums of the clients' metrics."""
    total: dict[str, float] = {}
    row = 0
    for client, step in zip(clients, steps, strict=True):
        rows = slice(row, row := row + len(step.items))
        written = client.remember(step, losses.surprise[rows], losses.embedding[rows], round_number)
        for name, value in written.items():
            total[name] = total.get(name, 0.0) + value
    return total


def cohort_dropout(clients: Sequence[FedMemClient], steps: Sequence[LocalStep], round_number: int) -> Dropout:
    """Each client's dropout masks from its own generator, in its own shape: the masks it would draw alone."""
    generators = [client.dropout_generator(round_number, 0) for client in clients]

    def drop(x: Tensor, probability: float) -> Tensor:
        if probability == 0:
            return x
        keep = torch.zeros(x.shape, dtype=torch.bool)
        row = 0
        for generator, step in zip(generators, steps, strict=True):
            segments, width = step.items.shape
            drawn = torch.rand((segments, width, *x.shape[2:]), generator=generator, dtype=torch.float32)
            keep[row : (row := row + segments), :width] = drawn >= probability
        return x * keep.to(x.device) / (1 - probability)

    return drop
