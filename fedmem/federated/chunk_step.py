"""One local step of a chunk of clients: the objective, what is written into the memories, and what is counted."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fedmem.config import ExperimentConfig
from fedmem.federated.chunk import Chunk
from fedmem.federated.chunk_batch import ChunkBatch, ChunkTokens
from fedmem.federated.control_memories import control_entries
from fedmem.federated.distributions import CLIENT_LOSS, SURPRISE
from fedmem.federated.objective import Losses, Surprises, encode, gate_sums, losses, surprises
from fedmem.memory.entries import MemoryEntries
from fedmem.model.recommender import UR4RecV2MoE
from fedmem.model.sasrec import Dropout

Integers = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ChunkStep:
    """What a step comes to before any parameter moves.

    Attributes:
        losses: to be differentiated.
        surprises: for the memories; None where there are none.
        gates: sums over the chosen tokens, as ``gate_sums`` makes them.
    """

    losses: Losses
    surprises: Surprises | None
    gates: Mapping[str, float]

    @classmethod
    def of(
        cls, model: UR4RecV2MoE, batch: ChunkBatch, config: ExperimentConfig, drop: Dropout, ids: Tensor | None
    ) -> "ChunkStep":
        """Run all parts of the objective; ``ids`` as in ``encode``."""
        encoded = encode(model, batch, drop, ids)
        found = losses(model, encoded, batch, config)
        surprising = None
        if config.uses_memory:
            surprising = surprises(encoded.queries, encoded.table, batch.targets, batch.negatives)
        return cls(found, surprising, gate_sums(model, encoded.states, batch.chosen))


def remember(
    config: ExperimentConfig, chunk: Chunk, tokens: ChunkTokens, step: ChunkStep, round_number: int
) -> dict[str, float]:
    """Write the surprising items of a step into the clients' memories; sums of the step's metrics."""
    metrics = {
        "recommendation_loss": float(step.losses.recommendation.sum()),
        "contrastive_loss": step.losses.contrastive,
        "positions": float(tokens.chosen.sum()),
        **step.gates,
    }
    if step.surprises is None:
        return metrics
    written = evicted = 0
    if round_number >= config.fedmem.warmup_rounds:
        items, index = tokens.targets.astype(np.int32), tokens.index.astype(np.int32)
        written, evicted = write_memories(config, chunk, items, index, tokens.chosen, step.surprises, round_number)
    return metrics | {
        "surprise": float(step.surprises.surprise[tokens.chosen].sum()),
        **SURPRISE.counts(step.surprises.surprise[tokens.chosen]),
        "memory_updates": float(written),
        "memory_evictions": float(evicted),
    }


def write_memories(
    config: ExperimentConfig,
    chunk: Chunk,
    items: npt.NDArray[np.int32],
    index: npt.NDArray[np.int32],
    chosen: Mask,
    found: Surprises,
    round_number: int,
) -> tuple[int, int]:
    """Write by the gate or, for the control policies, random or the last positions whatever their surprise.

    Args:
        config: the policy, the gate and the weights of the utility.
        chunk: the clients, whose memories are written in place.
        items: item indices, in the order of the history [C, P].
        index: their history indices [C, P].
        chosen: which positions count [C, P].
        found: their surprises and embeddings.
        round_number: the round, from which a random policy draws.

    Returns:
        Entries written, and entries that had to go for them, of all clients.
    """
    if config.fedmem.memory_policy != "surprise":
        return _write_controls(config, chunk, items, index, chosen, found, round_number), 0
    last = chunk.samples - 1
    written, evicted = chunk.memories.update(config.fedmem, items, index, chosen, found.surprise, found.embedding, last)
    return int(written.sum()), int(evicted.sum())


def _write_controls(
    config: ExperimentConfig,
    chunk: Chunk,
    items: npt.NDArray[np.int32],
    index: npt.NDArray[np.int32],
    chosen: Mask,
    found: Surprises,
    round_number: int,
) -> int:
    written = 0
    for client, user in enumerate(chunk.users):
        columns = (a[client, chosen[client]] for a in (items, index, found.surprise, found.embedding))
        item, at, surprise, embedding = columns
        entries = MemoryEntries(item, at, np.ones_like(item), surprise, embedding)
        chunk.memories.set_entries(client, control_entries(config, user, round_number, entries))
        written += min(config.fedmem.memory_capacity, len(entries))
    return written


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
        """Add a step of the first so many clients."""
        active = len(recommendation)
        self.sums[:active] += recommendation
        self.positions[:active] += tokens.chosen.sum(1)

    def counts(self) -> dict[str, float]:
        """Count the clients' mean losses as a distribution."""
        return CLIENT_LOSS.counts(self.sums / self.positions)


def add_metrics(total: dict[str, float], more: Mapping[str, float]) -> None:
    """Add a step's metric sums to those of the steps before."""
    for name, value in more.items():
        total[name] = total.get(name, 0.0) + value
