"""FedSGD for clients that send updates of their own: one step from a common start, and each client's gradient of it.

No client has a copy of the parameters: until the step is taken all have the same, so that what does not depend on a
client's gradient is computed once for many. Otherwise it is a client's single step among ``SeveralSteps``.
"""

from torch import Tensor

from fedmem.config import TrainingConfig
from fedmem.federated.chunk import Chunk
from fedmem.federated.chunk_step import ClientLosses, measured, remember
from fedmem.federated.local_steps import LocalSteps
from fedmem.federated.messages import Arrays
from fedmem.federated.parameters import set_parameter
from fedmem.federated.several_steps import SeveralSteps, part_of
from fedmem.federated.sums import Sum
from fedmem.model.preference_retriever import PrototypeVectors
from fedmem.model.recommender import UR4RecV2MoE


class SingleClients(SeveralSteps):
    """Trains chunks whose clients take one step of plain SGD with a loss over the whole catalogue, each by itself."""

    def each(
        self, chunk: Chunk, round_number: int, prototypes: PrototypeVectors | None
    ) -> list[tuple[Arrays, dict[str, Sum]]]:
        """Train the clients of a chunk on their own: each one's change and metrics."""
        config, clients = self.config, range(len(chunk))
        start = CommonStart(self.model, self.clients_model, len(chunk))
        steps = [step for (step,) in chunk.steps(LocalSteps.of(config), round_number)]
        losses = ClientLosses.zeros(len(chunk))
        found = self._step(start, chunk, steps, 0, round_number, prototypes, losses)
        writes = remember(config.fedmem, config.seed, chunk, *found, round_number)
        metrics = [measured(*part_of(*found, writes, client)) for client in clients]
        changes = start.changes(config.training)
        return [(changes[client], metrics[client] | losses.of_client(client).metrics()) for client in clients]


class CommonStart:
    """The parameters of C clients that have taken no step: each is there once, and seen as [C, ..].

    Args:
        model: holds the start.
        clients_model: is given the parameters with a leading dimension [C].
        clients: C.
    """

    rows = ids = None  # all item rows are read from the model

    def __init__(self, model: UR4RecV2MoE, clients_model: UR4RecV2MoE, clients: int) -> None:
        self.clients = clients
        self.start = {name: p.detach() for name, p in model.named_parameters()}
        self.seen = {
            name: set_parameter(clients_model, name, value.expand(clients, *value.shape))
            for name, value in self.start.items()
        }

    def changes(self, training: TrainingConfig) -> list[Arrays]:
        """Compute −η·(∇L_c + weight decay) of every parameter, by client; the gradients are used up."""
        moved = {name: self._change(name, training).cpu().numpy() for name in self.start}
        return [{name: values[client] for name, values in moved.items()} for client in range(self.clients)]

    def _change(self, name: str, training: TrainingConfig) -> Tensor:
        parameter = self.seen[name]
        gradient, parameter.grad = parameter.grad, None
        if gradient is None:
            gradient = self.start[name].new_zeros(parameter.shape)
        if training.weight_decay:
            gradient.add_(self.start[name], alpha=training.weight_decay)
        return gradient.mul_(-training.learning_rate)
