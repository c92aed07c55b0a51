"""One user's query in numpy: what ``ModelScorer.queries`` computes for a batch of one, in a third of the time.

Everything that depends on the model alone is laid out once, in the numpy twins of its parts. What an explanation needs
is kept: the query's summands and what each expert read.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.memory.entries import MemoryEntries
from fedmem.modality import Modality
from fedmem.model.fusion import NumpyFusion
from fedmem.model.layers import FloatArray, NumpyLinear, array_of, softmax
from fedmem.model.preference_retriever import NumpyExpert
from fedmem.model.sasrec import NumpySASRec

BoolArray = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class QueryParts:
    """The summands of one query and how they came about.

    Attributes:
        sequence: a·h, against e_i [D].
        experts: b·g_e·p_e by expert, against z_e,i [Z_e]; empty where nothing is read.
        availability: b times the bias of each pattern of modalities but the first [P − 1], or None.
        fusion: the weights a and b.
        gates: g_e by expert; empty where nothing is read.
        weights: by expert, of the memory's entries, then the prototypes, then nothing [M + K + 1], mean over heads.
    """

    sequence: FloatArray
    experts: dict[Modality, FloatArray]
    availability: FloatArray | None
    fusion: tuple[float, float]
    gates: dict[Modality, float]
    weights: dict[Modality, FloatArray]


class SingleQueries:
    """Queries of single users by the model and the global memory of a scorer.

    Args:
        scorer: a scorer in single precision on the CPU.
    """

    @torch.inference_mode()
    def __init__(self, scorer: ModelScorer) -> None:
        model = scorer.model
        self._sasrec = NumpySASRec(model.sasrec, array_of(scorer.table.embedding))
        self._experts: dict[Modality, NumpyExpert] = {}
        self._slots: dict[Modality, _Slots] = {}
        self._item_dim = 0
        self._router = self._availability = None
        if model.retriever is not None:
            self._fusion = NumpyFusion(model.fusion)
            for modality, expert in model.retriever.by_modality():
                self._experts[modality] = NumpyExpert(expert)
                self._slots[modality] = _Slots(modality, self._experts[modality].item_dim, scorer)
            self._router = None if model.retriever.router is None else NumpyLinear(model.retriever.router)
            biases = model.retriever.availability
            self._availability = None if biases is None else NumpyLinear(biases)
            self._item_dim = model.retriever.item_dim
        self._modalities = model.modalities
        self._knows_nothing = scorer.knows_nothing
        self._has_prototypes = scorer.prototypes is not None

    def query(self, context: UserContext | None, history: Indices) -> FloatArray:
        """Compute the query vector q_u after a whole history [D_x]; without a context no memory is read at all."""
        parts = self.parts(context, history)
        if not self._experts:
            return parts.sequence
        blocks = [parts.sequence + parts.experts[Modality.SEQUENTIAL] if parts.experts else parts.sequence]
        nothing = np.zeros(self._item_dim, np.float32)
        blocks += [parts.experts.get(modality, nothing) for modality in self._modalities]
        if parts.availability is not None:
            blocks.append(parts.availability)
        return np.concatenate(blocks)

    def parts(self, context: UserContext | None, history: Indices) -> QueryParts:
        """Compute the summands of the query after a whole history, as ``query``."""
        h = self._sasrec.state(history)
        if not self._experts:
            return QueryParts(h, {}, None, (1.0, 0.0), {}, {})
        a, b = self._fusion.weights(h)
        biases = None if self._availability is None else b * self._availability(h)
        if context is None or (context.memory is None and not self._has_prototypes):
            return QueryParts(a * h, {}, biases, (a, b), {}, {})
        gates, experts, weights = self._gates(h), {}, {}
        readable = None if context.memory is None else context.memory.index < len(history)
        by_mass = self._knows_nothing(context, history)
        for modality, expert in self._experts.items():
            slots, present = self._slots[modality].readable(context.memory, readable)
            text = None if by_mass else context.preference
            read = self._slots[modality].mass if by_mass else expert.attend(h, slots, present, text)
            experts[modality] = (b * gates[modality]) * expert.preference(slots, read, text)
            weights[modality] = read.mean(0)
        return QueryParts(a * h, experts, biases, (a, b), gates, weights)

    def _gates(self, h: FloatArray) -> dict[Modality, float]:
        if self._router is None:
            return dict.fromkeys(self._experts, 1.0)
        return dict(zip(self._experts, softmax(self._router(h)).tolist(), strict=True))


class _Slots:
    """What one expert may read: entries' vectors by item, the prototypes as it sees them, and the null slot last."""

    def __init__(self, modality: Modality, item_dim: int, scorer: ModelScorer) -> None:
        # Where entries' vectors come from: the items' own, or, for None, the memory.
        self.vectors: FloatArray | None = None
        self.present: BoolArray | None = None
        if modality is not Modality.SEQUENTIAL:
            self.vectors, mask = array_of(scorer.table.vectors[modality]), scorer.model.features[modality].mask
            self.present = None if bool(mask[1:].all()) else mask.cpu().numpy()
        self._place_prototypes(modality, item_dim, scorer)

    def _place_prototypes(self, modality: Modality, item_dim: int, scorer: ModelScorer) -> None:
        prototypes = np.zeros((0, item_dim), np.float32)
        present = np.zeros(0, bool)
        mass = np.zeros(0, np.float32)
        if scorer.prototypes is not None and scorer.global_memory is not None:
            adapted = scorer.model.adapt_prototypes(modality, scorer.prototypes)
            prototypes, present = array_of(adapted.vectors), adapted.mask.cpu().numpy()
            mass = scorer.global_memory.mass
        self.always = np.concatenate([prototypes, np.zeros_like(prototypes, shape=(1, item_dim))])
        self.always_present = np.append(present, True)
        by_mass = np.append(mass * present, 0).astype(np.float32)
        by_mass[-1] = by_mass.sum() == 0
        self.mass = (by_mass / by_mass.sum())[None]  # [1, K + 1]

    def readable(self, memory: MemoryEntries | None, readable: BoolArray | None) -> tuple[FloatArray, BoolArray]:
        """Put entries, prototypes and nothing together [M + K + 1, Z], and which may be read [M + K + 1]."""
        if memory is None or readable is None or not len(memory):
            return self.always, self.always_present
        entries = memory.id_embedding if self.vectors is None else self.vectors.take(memory.items, axis=0)
        present = readable if self.present is None else readable & self.present[memory.items]
        return np.concatenate([entries, self.always]), np.concatenate([present, self.always_present])
