"""Local steps with parameters of each client's own, for many clients at once.

Every parameter gets a leading client dimension [C, ..]. Of the item embeddings only the rows that a client touches are
copied; a row that it does not touch can change by weight decay alone, which is the same for every client.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fedmem.config import ExperimentConfig, FederatedConfig, TrainingConfig
from fedmem.data.client_dataset import ClientDataset
from fedmem.federated.aggregation import AGGREGATIONS
from fedmem.federated.chunk import Chunk
from fedmem.federated.chunk_batch import ChunkTokens, batch_of
from fedmem.federated.chunk_step import ChunkStep, ClientLosses, Writes, measured, remember
from fedmem.federated.dropout import chunk_dropout, dropout_generator
from fedmem.federated.local_optimizer import local_optimizer
from fedmem.federated.local_steps import LocalStep, LocalSteps
from fedmem.federated.messages import ITEM_ROWS, Arrays, RowSum, UpdateSum
from fedmem.federated.objective import Objective
from fedmem.federated.parameters import set_parameter, twin
from fedmem.federated.sums import Sum
from fedmem.federated.training_metrics import added
from fedmem.model.preference_retriever import PrototypeVectors
from fedmem.model.recommendation_losses import LOSSES
from fedmem.model.recommender import UR4RecV2MoE

IntArray = npt.NDArray[np.int64]

KEPT_STEPS = 256  # of a chunk, some hundred kilobytes


class SeveralSteps:
    """Trains chunks whose clients take several steps, or one that is not plain SGD.

    Args:
        config: the run's configuration.
        model: holds the broadcast's parameters whenever a chunk is trained; is never changed.
    """

    def __init__(self, config: ExperimentConfig, model: UR4RecV2MoE) -> None:
        self.config = config
        self.model = model
        self.clients_model = twin(model)

    def __call__(self, chunk: Chunk, round_number: int, prototypes: PrototypeVectors | None) -> UpdateSum:
        """Train the clients of a chunk on their own: the weighted sum of their changes, and their metrics."""
        copies, (metrics,), client_losses = self._trained(chunk, round_number, prototypes, _together)
        return copies.trained(metrics | client_losses.metrics())

    def each(
        self, chunk: Chunk, round_number: int, prototypes: PrototypeVectors | None
    ) -> list[tuple[Arrays, dict[str, Sum]]]:
        """Train the clients of a chunk on their own, with a loss over the catalogue: each one's change and metrics."""
        copies, metrics, losses = self._trained(chunk, round_number, prototypes, _each)
        return [
            (copies.change_of(client), own | losses.of_client(client).metrics()) for client, own in enumerate(metrics)
        ]

    def _trained(
        self, chunk: Chunk, round_number: int, prototypes: PrototypeVectors | None, parted: "Parted"
    ) -> tuple["ClientCopies", list[dict[str, Sum]], ClientLosses]:
        """Take all steps; what is measured is summed over the parts of the chunk that are asked for."""
        local, training, federated = LocalSteps.of(self.config), self.config.training, self.config.federated
        counts = [local.count(data) for data in chunk.data]
        looked_at, plans = _plans(chunk, local, round_number, sum(counts))
        copies = ClientCopies(training, federated, self.model, self.clients_model, chunk, looked_at)
        metrics: list[dict[str, Sum]] = [{} for _ in parted(chunk)]
        client_losses = ClientLosses.zeros(len(chunk))
        for number in range(counts[0]):
            active = sum(count > number for count in counts)
            copies.narrow(active)
            steps = [next(plan) for plan in plans[:active]]
            still = chunk.part(slice(active))
            found = self._step(copies, still, steps, number, round_number, prototypes, client_losses)
            writes = remember(self.config.fedmem, self.config.seed, still, *found, round_number)
            for place, part in enumerate(parted(still)):
                metrics[place] = added(metrics[place], measured(*part_of(*found, writes, part)))
            copies.step()
        copies.narrow(0)
        return copies, metrics, client_losses

    def _step(
        self,
        copies: "ParameterCopies",
        chunk: Chunk,
        steps: Sequence[LocalStep],
        number: int,
        round_number: int,
        prototypes: PrototypeVectors | None,
        client_losses: ClientLosses,
    ) -> tuple[ChunkTokens, ChunkStep]:
        like = self.model.sasrec.start_token
        tokens = ChunkTokens.of(steps, like.device)
        weight = tokens.chosen / tokens.chosen.sum(1, keepdims=True)
        batch = batch_of(
            chunk, steps, tokens, weight, copies.rows, prototypes, like, reads_memory=self.config.uses_memory
        )
        generators = [dropout_generator(self.config.seed, round_number, user, number) for user in chunk.users]
        drop = chunk_dropout(generators, tokens.counts.tolist(), torch.from_numpy(tokens.real).to(like.device))
        step = ChunkStep.of(Objective.of(self.config), self.clients_model, batch, drop, copies.ids)
        step.losses.total.backward()
        client_losses.add(step.losses.recommendation, tokens)
        return tokens, step.without_graph()


Parted = Callable[[Chunk], Sequence[int | None]]


def _together(chunk: Chunk) -> Sequence[int | None]:
    """Measure all clients of a chunk together."""
    return (None,)


def _each(chunk: Chunk) -> Sequence[int | None]:
    """Measure each client of a chunk."""
    return range(len(chunk))


def part_of(
    tokens: ChunkTokens, step: ChunkStep, writes: Writes, client: int | None
) -> tuple[ChunkTokens, ChunkStep, Writes]:
    """Take one client's part of a step and of what it wrote, or all of it."""
    if client is None:
        return tokens, step, writes
    return tokens.of_client(client), step.of_client(client), writes.of_client(client)


def _plans(
    chunk: Chunk, local: LocalSteps, round_number: int, count: int
) -> tuple[Sequence[Iterable[LocalStep]], list[Iterator[LocalStep]]]:
    """Draw the clients' local steps, to be looked at and to be taken: twice where they are too many to keep."""
    drawn = chunk.steps(local, round_number)
    if count > KEPT_STEPS:
        return drawn, chunk.steps(local, round_number)
    kept = [list(plan) for plan in drawn]
    return kept, [iter(plan) for plan in kept]


class ParameterCopies(Protocol):
    """The parameters of clients, as ``ClientCopies`` names their item rows."""

    @property
    def rows(self) -> Tensor | None: ...
    @property
    def ids(self) -> Tensor | None: ...


class ClientCopies:
    """The parameters of C clients, those that take most steps first, and their optimiser.

    Args:
        training: the loss and the client's optimiser.
        federated: the aggregation, by which clients are weighed and held to the common start.
        model: holds the common start.
        clients_model: is given the parameters with a leading dimension [C].
        chunk: the clients.
        plans: their local steps, of which only the negatives are looked at.
    """

    def __init__(
        self,
        training: TrainingConfig,
        federated: FederatedConfig,
        model: UR4RecV2MoE,
        clients_model: UR4RecV2MoE,
        chunk: Chunk,
        plans: Sequence[Iterable[LocalStep]],
    ) -> None:
        aggregation = AGGREGATIONS[federated.aggregation_method]
        weights = aggregation.weight(chunk.samples)
        self.active = self.clients = len(chunk)
        self.weight = float(weights.sum())
        self.start = {name: p.detach() for name, p in model.named_parameters()}
        self.proximal = aggregation.proximal(federated)
        self.row_normalisation = federated.row_normalisation
        self.weights = torch.from_numpy(weights).to(self.start[ITEM_ROWS])
        self.touched: TouchedRows | None = None
        copied = dict(self.start)
        if not LOSSES[training.loss].whole_catalogue:
            decays = training.weight_decay > 0
            self.touched = TouchedRows(copied.pop(ITEM_ROWS), _rows_of(chunk, plans), self.weights, decays=decays)
        self.copies = {name: start.expand(self.active, *start.shape).clone() for name, start in copied.items()}
        if self.touched is not None:
            self.copies[ITEM_ROWS] = self.touched.start.clone()
        self.parameters = {name: set_parameter(clients_model, name, value) for name, value in self.copies.items()}
        idle = [] if self.touched is None or self.touched.idle is None else [self.touched.idle]
        self.optimizer = local_optimizer([*self.parameters.values(), *idle], training, fused=True)

    @property
    def rows(self) -> Tensor | None:
        """The item rows of the clients that still train [C, n], or None for all rows."""
        return None if self.touched is None else self.touched.rows[: self.active]

    @property
    def ids(self) -> Tensor | None:
        """Their id embeddings [C, n, D], or None where the model has them all."""
        return None if self.touched is None else self.parameters[ITEM_ROWS]

    def narrow(self, active: int) -> None:
        """Go on with the first ``active`` clients; the others have taken all their steps."""
        if active == self.active:
            return
        if self.touched is not None:
            self.touched.note_idle(slice(active, self.active))
        self.active = active
        for name, parameter in self.parameters.items():
            parameter.data = self.copies[name][:active]
            state = self.optimizer.state[parameter]
            state.update({key: moment[:active] for key, moment in state.items() if moment.dim()})

    def step(self) -> None:
        """Take a step of every active client's optimiser, from the gradients that stand; then there are none."""
        for name, parameter in self.parameters.items():
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.contiguous()
            if self.proximal:  # the gradient of (μ/2)·‖θ − θ_global‖²
                gradient = gradient + self.proximal * (parameter.detach() - self._start_of(name)[: self.active])
            parameter.grad = gradient
        if self.touched is not None and self.touched.idle is not None:
            self.touched.idle.grad = self.proximal * self.touched.decay()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _start_of(self, name: str) -> Tensor:
        """Return [C, ..] or, if it is the same for all clients, [1, ..]."""
        return self.start[name][None] if name != ITEM_ROWS or self.touched is None else self.touched.start

    def trained(self, metrics: Mapping[str, Sum]) -> UpdateSum:
        """Return Σ w_c·(θ_c − θ) of every parameter."""
        names = [name for name in self.copies if name != ITEM_ROWS or self.touched is None]
        moved = {name: self.copies[name] - self.start[name] for name in names}
        delta = {name: torch.tensordot(self.weights, values, 1).cpu().numpy() for name, values in moved.items()}
        item_rows = None if self.touched is None else self.touched.sum(self.copies[ITEM_ROWS])
        row_weight = self._row_weight() if self.row_normalisation else None
        return UpdateSum(delta, self.weight, item_rows, row_weight, metrics=metrics, clients=self.clients)

    def change_of(self, client: int) -> Arrays:
        """Return θ_c − θ of one client."""
        assert self.touched is None, "all item rows are the client's own"
        return {name: (copies[client] - self.start[name]).cpu().numpy() for name, copies in self.copies.items()}

    def _row_weight(self) -> npt.NDArray[np.float64]:
        """Sum w_c by item row over the clients that changed it [I + 1]."""
        if self.touched is not None:
            return self.touched.weight(self.copies[ITEM_ROWS])
        changed = (self.copies[ITEM_ROWS] != self.start[ITEM_ROWS]).any(-1)  # [C, I + 1]
        weight: npt.NDArray[np.float64] = (self.weights.double() @ changed.double()).cpu().numpy()
        return weight


class TouchedRows:
    """The item rows that clients touch, and what becomes of those they do not.

    Args:
        table: the common start of all rows [I + 1, D].
        rows: each client's rows, ascending, the last repeated to the longest list [C, n].
        weights: w_c, what each client counts for [C].
        decays: whether a row changes that no client touches.
    """

    def __init__(self, table: Tensor, rows: IntArray, weights: Tensor, *, decays: bool) -> None:
        self.table, self.weights = table, weights
        self.rows = torch.from_numpy(rows).to(table.device)
        self.start = table[self.rows]
        own = torch.ones_like(self.rows, dtype=torch.bool)
        own[:, 1:] = self.rows[:, 1:] > self.rows[:, :-1]
        self.row_weights = weights[:, None] * own  # w_c, and 0 where a row is but repeated [C, n]
        self.idle = nn.Parameter(table.clone()) if decays else None
        self.untouched = self.start.clone() if decays else self.start  # had the client not touched its rows [C, n, D]
        self.idle_sum, self.idle_weight = torch.zeros_like(table), table.new_zeros(len(table))

    def decay(self) -> Tensor:
        """Tell how far a row has come that no client touches [I + 1, D]."""
        assert self.idle is not None
        return self.idle.detach() - self.table

    def note_idle(self, finished: slice) -> None:
        """Note that these clients take no further step, nor do the rows that they do not touch."""
        if self.idle is None:
            return
        weight, moved = self.weights[finished].sum(), self.decay()
        self.idle_sum += weight * moved
        self.idle_weight += weight * (moved != 0).any(-1)
        self.untouched[finished] = self.idle.detach()[self.rows[finished]]

    def sum(self, trained: Tensor) -> RowSum:
        """Return Σ w_c·Δ_c of the item rows, from their trained values [C, n, D]."""
        distinct, place = self.rows.unique(return_inverse=True)
        moved = ((trained - self.untouched) * self.row_weights.unsqueeze(-1)).flatten(0, 1)
        total = moved.new_zeros(len(distinct), moved.shape[-1]).index_add_(0, place.flatten(), moved)
        if self.idle is not None:
            total, distinct = self.idle_sum.index_add(0, distinct, total), torch.arange(len(self.table))
        return RowSum(distinct.cpu().numpy(), total.cpu().numpy(), len(self.table))

    def weight(self, trained: Tensor) -> npt.NDArray[np.float64]:
        """Sum w_c by row over the clients that changed it [I + 1]."""
        changed, would_have = ((x != self.start).any(-1).to(trained.dtype) for x in (trained, self.untouched))
        more = (self.row_weights * (changed - would_have)).flatten()
        weight: npt.NDArray[np.float64] = (
            self.idle_weight.index_add(0, self.rows.flatten(), more).double().cpu().numpy()
        )
        return weight


def _rows_of(chunk: Chunk, plans: Sequence[Iterable[LocalStep]]) -> IntArray:
    """List each client's items and negatives, ascending, the last repeated to the longest list [C, n]."""
    rows = [_touched(data, plan) for data, plan in zip(chunk.data, plans, strict=True)]
    width = max(len(own) for own in rows)
    return np.stack([np.pad(own, (0, width - len(own)), mode="edge") for own in rows]).astype(np.int64)


def _touched(data: ClientDataset, plan: Iterable[LocalStep]) -> npt.NDArray[np.intp]:
    touched = np.zeros(data.num_items + 1, bool)
    touched[data.history] = True
    for step in plan:
        touched[step.negatives] = True
    return np.flatnonzero(touched)
