"""FedMemClient: one user's device. Trains on its own history, remembers surprises, distils prototypes.

With ``local_objective`` this is the plain implementation that reads like the paper's pseudocode: the reference for
any faster one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from fedmem.config import ExperimentConfig
from fedmem.data.client_dataset import ClientDataset
from fedmem.federated.control_memories import control_entries
from fedmem.federated.distributions import CLIENT_LOSS, SURPRISE
from fedmem.federated.dropout import client_dropout, dropout_generator
from fedmem.federated.local_objective import collate, local_objective, prototype_vectors
from fedmem.federated.local_optimizer import local_optimizer
from fedmem.federated.local_steps import LocalStep, draw_steps
from fedmem.federated.messages import Broadcast, ClientUpdate
from fedmem.federated.parameters import load_parameters, parameter_arrays
from fedmem.federated.scoring import UserContext
from fedmem.memory.local_memory import FrozenItemBlocks, LocalDynamicMemory, MemoryEntries
from fedmem.memory.prototypes import Prototypes
from fedmem.model.recommender import UR4RecV2MoE

FloatArray = npt.NDArray[np.float32]


class FedMemClient:
    """One simulated user.

    Args:
        user: user index, the client's name in the derivation of randomness.
        data: its training history.
        memory: its local dynamic memory, which persists across rounds.
        config: the run's configuration.
        features: frozen item vectors, looked up when prototypes are distilled.
        preference: its encoded preference text [D_t], or None.
    """

    def __init__(
        self,
        user: int,
        data: ClientDataset,
        memory: LocalDynamicMemory,
        config: ExperimentConfig,
        features: FrozenItemBlocks,
        preference: FloatArray | None = None,
    ) -> None:
        self.user = user
        self.data = data
        self.memory = memory
        self.config = config
        self.features = features
        self.preference = preference
        self._model: UR4RecV2MoE | None = None
        self._broadcast: Broadcast | None = None

    def receive_model(self, model: UR4RecV2MoE, broadcast: Broadcast) -> None:
        """Load the global model and the global abstract memory into the device's (lent) model."""
        load_parameters(model, broadcast.parameters)
        self._model, self._broadcast = model, broadcast
        self.memory.global_memory = broadcast.global_memory

    def release_model(self) -> None:
        """Forget the model; the memory stays."""
        self._model = self._broadcast = None

    def train_local_model(self) -> Mapping[str, float]:
        """Local epochs over the client's own data; writes the memory and returns the sums of its metrics."""
        model, broadcast = self._received()
        optimizer = local_optimizer(list(model.parameters()), self.config.training)
        prototypes = prototype_vectors(broadcast.global_memory, model.sasrec.item_embedding)
        start = [p.detach().clone() for p in model.parameters()] if self._proximal else []
        metrics: dict[str, float] = {}
        for number, step in enumerate(self.local_steps(broadcast.round)):
            batch = collate([step], prototypes, model.sasrec.item_embedding, model.text_dim)
            generator = dropout_generator(self.config.seed, broadcast.round, self.user, number)
            losses = local_objective(model, batch, self.config, client_dropout(generator, step.items > 0))
            optimizer.zero_grad()
            (losses.total / step.num_samples + self._proximal_term(model, start)).backward()
            fill_gradients(model)
            written = self.remember(step, losses.surprise, losses.embedding, broadcast.round)
            add_metrics(metrics, losses.metrics() | written)
            optimizer.step()
        mean_loss = metrics["recommendation_loss"] / metrics["positions"]
        return metrics | CLIENT_LOSS.counts(np.array([mean_loss]))

    def get_model_parameters(self) -> dict[str, npt.NDArray[np.floating]]:
        """The change Δθ of every parameter since the broadcast."""
        model, broadcast = self._received()
        return {name: value - broadcast.parameters[name] for name, value in parameter_arrays(model).items()}

    def get_memory_prototypes(self) -> Prototypes | None:
        """The memory distilled into K (sum, count) pairs; None where prototypes take no part."""
        start = self.memory.global_memory
        if start is None or not self.config.uses_prototypes:
            return None
        return self.memory.extract_prototypes(start, self.features)

    def participate(self, model: UR4RecV2MoE, broadcast: Broadcast) -> ClientUpdate:
        """One round: receive, train, remember, distil, and what is sent back."""
        self.receive_model(model, broadcast)
        metrics = self.train_local_model()
        update = ClientUpdate(
            len(self.data.history), self.get_model_parameters(), self.get_memory_prototypes(), metrics
        )
        self.release_model()
        return update

    def local_steps(self, round_number: int) -> Iterator[LocalStep]:
        """The local steps of a round; each reads the memory as it stands when its turn comes."""
        for step in draw_steps(self.config, round_number, self.user, self.data):
            memory = self.memory.query() if self.config.uses_memory else None
            yield replace(step, memory=memory, preference=self.preference if self.config.uses_memory else None)

    def context(self) -> UserContext:
        """What stands beside the history when this client is scored."""
        return UserContext(self.memory.query(), self.preference) if self.config.uses_memory else UserContext()

    def remember(
        self, step: LocalStep, surprise: FloatArray, embedding: FloatArray, round_number: int
    ) -> dict[str, float]:
        """Write the surprising items of a step into the memory; returns the step's metric sums.

        Args:
            step: the step, of S segments and T positions.
            surprise: each position's surprise, in nats [S, T or more].
            embedding: each position's target embedding [S, T or more, D].
            round_number: nothing is written during the first ``warmup_rounds``.
        """
        chosen = step.chosen
        items = step.items[chosen]
        index = np.add.outer(step.start, np.arange(chosen.shape[1]))[chosen].astype(np.int32)
        surprise, embedding = (values[:, : chosen.shape[1]][chosen] for values in (surprise, embedding))
        entries = MemoryEntries(items, index, np.ones_like(items), surprise, embedding)
        if not self.config.uses_memory:
            return {"positions": float(len(items))}
        written = evicted = 0
        if round_number >= self.config.fedmem.warmup_rounds:
            written, evicted = self._write(entries, round_number)
        return {
            "surprise": float(surprise.sum()),
            **SURPRISE.counts(surprise),
            "positions": float(len(items)),
            "memory_updates": float(written),
            "memory_evictions": float(evicted),
            "memory_occupancy": float(len(self.memory)),
        }

    def _write(self, entries: MemoryEntries, round_number: int) -> tuple[int, int]:
        """By the gate or, for the control policies, random or the last positions whatever their surprise."""
        if self.config.fedmem.memory_policy == "surprise":
            last = len(self.data.history) - 1
            update = self.memory.update(entries.items, entries.index, entries.surprise, entries.id_embedding, last)
            return update.written, update.evicted
        self.memory.restore(control_entries(self.config, self.user, round_number, entries))
        return min(self.config.fedmem.memory_capacity, len(entries)), 0

    @property
    def _proximal(self) -> bool:
        return self.config.federated.aggregation_method == "fedprox"

    def _proximal_term(self, model: UR4RecV2MoE, start: list[torch.Tensor]) -> torch.Tensor | float:
        """(μ/2)·‖θ − θ_global‖² (Li et al., MLSys 2020)."""
        squares = [(p - p0).square().sum() for p, p0 in zip(model.parameters(), start, strict=False)]
        return self.config.federated.fedprox_mu / 2 * sum(squares) if start else 0.0

    def _received(self) -> tuple[UR4RecV2MoE, Broadcast]:
        assert self._model is not None, "receive_model comes first"
        assert self._broadcast is not None
        return self._model, self._broadcast


def fill_gradients(model: UR4RecV2MoE) -> None:
    """Zero for parameters that a step did not read (no memory, no preference text): weight decay holds for all."""
    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


def add_metrics(total: dict[str, float], more: Mapping[str, float]) -> None:
    """Add a step's metric sums; the occupancy is a level, of which the last stands."""
    for name, value in more.items():
        total[name] = value if name == "memory_occupancy" else total.get(name, 0.0) + value
