"""One local step of a chunk of clients: the objective, what is written into the memories, and what is counted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fedmem.config import FedMemConfig
from fedmem.federated.chunk import Chunk
from fedmem.federated.chunk_batch import ChunkBatch, ChunkTokens
from fedmem.federated.objective import Losses, Objective, Surprises, encode, gate_sums, losses, surprises, token_gates
from fedmem.federated.sums import Sum
from fedmem.federated.training_metrics import Step, client_metrics, step_metrics
from fedmem.memory.policies import MEMORY_POLICIES, Counts, StepOutcome
from fedmem.model.recommender import UR4RecV2MoE
from fedmem.model.sasrec import Dropout
from fedmem.randomness import numpy_generator

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ChunkStep:
    """What a step comes to before any parameter moves.

    Attributes:
        losses: to be differentiated.
        surprises: for the memories; None where there are none.
        gates: each expert's, of every token [C, P, 1]; empty without.
        chosen: which tokens count [C, P].
    """

    losses: Losses
    surprises: Surprises | None
    gates: Mapping[str, Tensor]
    chosen: Tensor

    @classmethod
    def of(
        cls, objective: Objective, model: UR4RecV2MoE, batch: ChunkBatch, drop: Dropout, ids: Tensor | None
    ) -> "ChunkStep":
        """Run all parts of the objective; ``ids`` as in ``encode``."""
        encoded = encode(model, batch, drop, ids)
        found = losses(objective, model, encoded, batch)
        surprising = None
        if objective.surprising:
            surprising = surprises(encoded.queries, encoded.table, batch.targets, batch.negatives)
        return cls(found, surprising, token_gates(model, encoded.states), batch.chosen)

    def without_graph(self) -> "ChunkStep":
        """Forget how it came about, once it was differentiated: narrowed parameters would not fit it."""
        return replace(self, losses=replace(self.losses, total=self.losses.total.detach()))

    def of_client(self, client: int) -> "ChunkStep":
        """Take one client's part; what is differentiated stays that of all."""
        one = slice(client, client + 1)
        losses = replace(
            self.losses, recommendation=self.losses.recommendation[one], contrastive=self.losses.contrastive[one]
        )
        found = self.surprises and Surprises(self.surprises.surprise[one], self.surprises.embedding[one])
        return ChunkStep(losses, found, {name: gate[one] for name, gate in self.gates.items()}, self.chosen[one])


@dataclass(frozen=True, eq=False)
class Writes:
    """What a step wrote into memories: entries by client, and entries that had to go for them [C]."""

    written: Counts
    evicted: Counts

    def of_client(self, client: int) -> "Writes":
        """Take one client's."""
        one = slice(client, client + 1)
        return Writes(self.written[one], self.evicted[one])


def remember(
    config: FedMemConfig, seed: int, chunk: Chunk, tokens: ChunkTokens, step: ChunkStep, round_number: int
) -> Writes:
    """Write a step into the clients' memories, as the policy has it; nothing before they are warm."""
    found = step.surprises
    if found is None or round_number < config.warmup_rounds:
        nothing = np.zeros(len(chunk), np.int64)
        return Writes(nothing, nothing)
    items, index = tokens.targets.astype(np.int32), tokens.index.astype(np.int32)
    return write_memories(config, seed, chunk, items, index, tokens.chosen, found, round_number)


def measured(tokens: ChunkTokens, step: ChunkStep, writes: Writes) -> dict[str, Sum]:
    """Sum the metrics of a step."""
    contrastive, gates = float(step.losses.contrastive.sum()), gate_sums(step.gates, step.chosen)
    shown = Step(step.losses.recommendation, contrastive, float(tokens.chosen.sum()), gates)
    if step.surprises is None:
        return step_metrics(shown)
    surprise, written, evicted = step.surprises.surprise[tokens.chosen], writes.written.sum(), writes.evicted.sum()
    return step_metrics(replace(shown, surprise=surprise, written=int(written), evicted=int(evicted)))


def write_memories(
    config: FedMemConfig,
    seed: int,
    chunk: Chunk,
    items: npt.NDArray[np.int32],
    index: npt.NDArray[np.int32],
    chosen: Mask,
    found: Surprises,
    round_number: int,
) -> Writes:
    """Write the clients' memories in place, as the policy has it.

    Args:
        config: the policy, the gate and the weights of the utility.
        seed: the run's, for a policy that draws.
        chunk: the clients.
        items: item indices, in the order of the history [C, P].
        index: their history indices [C, P].
        chosen: which positions count [C, P].
        found: their surprises and embeddings.
        round_number: the round, for a policy that draws.
    """

    def generator(client: int) -> np.random.Generator:
        return numpy_generator(seed, "random memory", round_number, chunk.users[client])

    seen = StepOutcome(items, index, chosen, found.surprise, found.embedding, chunk.samples - 1, generator)
    return Writes(*MEMORY_POLICIES[config.memory_policy].write(chunk.memories, seen, config))


@dataclass(frozen=True, eq=False)
class ClientLosses:
    """Each client's Σ L_rec, in nats [C], and over how many positions [C]."""

    sums: npt.NDArray[np.float64]
    positions: npt.NDArray[np.float64]

    @classmethod
    def zeros(cls, clients: int) -> "ClientLosses":
        """Start before the first step."""
        return cls(np.zeros(clients), np.zeros(clients))

    def add(self, recommendation: npt.NDArray[np.float64], tokens: ChunkTokens) -> None:
        """Add a step of the first clients, as many as ``recommendation`` has."""
        active = len(recommendation)
        self.sums[:active] += recommendation
        self.positions[:active] += tokens.chosen.sum(1)

    def of_client(self, client: int) -> "ClientLosses":
        """Take one client's."""
        one = slice(client, client + 1)
        return ClientLosses(self.sums[one], self.positions[one])

    def metrics(self) -> dict[str, Sum]:
        """Sum what is measured of clients after their last step."""
        return client_metrics(self.sums / self.positions)
