"""A chunk of clients: what trains together, the batch it makes of a local step, and how its memories are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.config import ExperimentConfig
from fedmem.data.client_dataset import ClientDataset
from fedmem.federated.aggregation import RowSum
from fedmem.federated.cohort_objective import CohortBatch, CohortLosses, CohortTokens, Surprises
from fedmem.federated.control_memories import control_entries
from fedmem.federated.distributions import CLIENT_LOSS, SURPRISE
from fedmem.federated.local_steps import LocalStep, draw_steps
from fedmem.federated.messages import Arrays
from fedmem.memory.local_memory import MemoryEntries
from fedmem.memory.memory_arrays import MemoryArrays
from fedmem.model.preference_retriever import PrototypeVectors, RetrievedMemory
from fedmem.model.recommender import Reader


@dataclass(frozen=True, eq=False)
class Chunk:
    """C clients, those with long histories first: the unit of work of a round.

    Attributes:
        users: user indices [C].
        data: their training histories.
        memories: their memories, written in place.
        preference: their encoded preference texts, zero where there is none [C, D_t], or None.
    """

    users: Sequence[int]
    data: Sequence[ClientDataset]
    memories: MemoryArrays
    preference: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.users)

    @property
    def samples(self) -> npt.NDArray[np.int64]:
        """Training samples n_c [C]."""
        return np.array([len(data.history) for data in self.data])

    def first(self, clients: int) -> "Chunk":
        """The first so many clients; their memories are views of the same arrays."""
        preference = None if self.preference is None else self.preference[:clients]
        return Chunk(self.users[:clients], self.data[:clients], self.memories.first(clients), preference)

    def steps(self, config: ExperimentConfig, round_number: int) -> list[list[LocalStep]]:
        """Every client's local steps of a round."""
        clients = zip(self.users, self.data, strict=True)
        return [list(draw_steps(config, round_number, user, data)) for user, data in clients]


@dataclass(frozen=True, eq=False)
class Trained:
    """What the local steps of a chunk came to, as in ``CohortSum``."""

    delta: Arrays
    item_rows: RowSum | None
    row_weight: npt.NDArray[np.float64] | None
    metrics: Mapping[str, float]


def batch_of(
    config: ExperimentConfig,
    chunk: Chunk,
    steps: Sequence[LocalStep],
    tokens: CohortTokens,
    weight: npt.NDArray[np.floating | np.bool_],
    rows: Tensor | None,
    prototypes: PrototypeVectors | None,
    like: Tensor,
) -> CohortBatch:
    """The batch of one local step, in the precision and on the device of ``like``.

    Args:
        config: what is read beside the sequence.
        chunk: its C clients.
        steps: their steps [C].
        tokens: the steps as tokens.
        weight: of each token in the sum that is differentiated [C, P].
        rows: item rows, as in ``CohortBatch``.
        prototypes: the global abstract memory, or None.
        like: names precision and device.
    """
    device = like.device
    targets, inputs, index, chosen = (
        torch.from_numpy(a).to(device) for a in (tokens.targets, tokens.inputs, tokens.index, tokens.chosen)
    )
    preference = preference_from = None
    if chunk.preference is not None and config.uses_memory:
        preference = torch.from_numpy(chunk.preference).to(like)
        preference_from = torch.tensor([step.preference_from for step in steps], device=device)
    return CohortBatch(
        targets=targets,
        inputs=inputs,
        chosen=chosen,
        weight=torch.from_numpy(weight).to(like),
        negatives=torch.from_numpy(np.stack([step.negatives for step in steps])).long().to(device),
        rows=rows,
        packing=tokens.packing,
        reader=Reader(
            memory=_retrieved(chunk.memories, prototypes, like) if config.uses_memory else None,
            target_index=index,
            preference=preference,
            preference_from=preference_from,
        ),
    )


def _retrieved(memories: MemoryArrays, prototypes: PrototypeVectors | None, like: Tensor) -> RetrievedMemory:
    """The clients' memories as the model reads them, no wider than the fullest."""
    used = int(memories.lengths.max())
    items, index, embedding = (
        torch.from_numpy(a[:, :used]).to(like.device) for a in (memories.items, memories.index, memories.id_embedding)
    )
    return RetrievedMemory(items.long(), index.long(), embedding.to(like.dtype), prototypes)


@dataclass(frozen=True, eq=False)
class ClientLosses:
    """Each client's Σ L_rec, in nats [C], and over how many positions [C]."""

    sums: npt.NDArray[np.float64]
    positions: npt.NDArray[np.float64]

    @classmethod
    def zeros(cls, clients: int) -> "ClientLosses":
        """Before the first step."""
        return cls(np.zeros(clients), np.zeros(clients))

    def add(self, losses: CohortLosses, tokens: CohortTokens) -> None:
        """Add a step of the first so many clients."""
        active = len(losses.recommendation)
        self.sums[:active] += losses.recommendation
        self.positions[:active] += tokens.chosen.sum(1)

    def counts(self) -> dict[str, float]:
        """The clients' mean losses as a distribution."""
        return CLIENT_LOSS.counts(self.sums / self.positions)


def remember(
    config: ExperimentConfig, chunk: Chunk, tokens: CohortTokens, losses: CohortLosses, round_number: int
) -> dict[str, float]:
    """Write the surprising items of a step into the clients' memories; sums of the step's metrics."""
    metrics = {
        "recommendation_loss": float(losses.recommendation.sum()),
        "contrastive_loss": losses.contrastive,
        "positions": float(tokens.chosen.sum()),
        **losses.gates,
    }
    if losses.surprises is None:
        return metrics
    written = evicted = 0
    if round_number >= config.fedmem.warmup_rounds:
        write = _by_surprise if config.fedmem.memory_policy == "surprise" else _by_control_policy
        written, evicted = write(config, chunk, tokens, losses.surprises, round_number)
    return metrics | {
        "surprise": float(losses.surprises.surprise[tokens.chosen].sum()),
        **SURPRISE.counts(losses.surprises.surprise[tokens.chosen]),
        "memory_updates": float(written),
        "memory_evictions": float(evicted),
    }


def _by_surprise(
    config: ExperimentConfig, chunk: Chunk, tokens: CohortTokens, found: Surprises, round_number: int
) -> tuple[int, int]:
    items, index = tokens.targets.astype(np.int32), tokens.index.astype(np.int32)
    last = chunk.samples - 1
    counts = chunk.memories.update(config.fedmem, items, index, tokens.chosen, found.surprise, found.embedding, last)
    return int(counts[0].sum()), int(counts[1].sum())


def _by_control_policy(
    config: ExperimentConfig, chunk: Chunk, tokens: CohortTokens, found: Surprises, round_number: int
) -> tuple[int, int]:
    written = 0
    for client, user in enumerate(chunk.users):
        chosen = tokens.chosen[client]
        items, index = (a[client, chosen].astype(np.int32) for a in (tokens.targets, tokens.index))
        surprise, embedding = found.surprise[client, chosen], found.embedding[client, chosen]
        entries = MemoryEntries(items, index, np.ones_like(items), surprise, embedding)
        chunk.memories.set_entries(client, control_entries(config, user, round_number, entries))
        written += min(config.fedmem.memory_capacity, len(entries))
    return written, 0
