"""What an answer is made from: the parts of each score, and the memory that was read. Computed only when asked for."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fedmem.contracts import Explanation, MemoryWeight, RememberedPart, ScoreParts
from fedmem.features.store import ItemFeatures
from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.memory.prototypes import Prototypes
from fedmem.memory.transitions import TransitionTable
from fedmem.model.layers import FloatArray
from fedmem.serving.catalogue import ServedCatalogue
from fedmem.serving.single_query import QueryParts, SingleQueries

NEAREST = 3  # titles that stand for a prototype
Indices = npt.NDArray[np.integer]
Doubles = npt.NDArray[np.float64]


class Explainer:
    """Explains answers of one model version.

    Args:
        scorer: the model as it is served.
        queries: its queries.
        catalogue: its items.
        features: the frozen features of the items that it was trained with.
    """

    def __init__(
        self, scorer: ModelScorer, queries: SingleQueries, catalogue: ServedCatalogue, features: ItemFeatures
    ) -> None:
        self.scorer = scorer
        self.queries = queries
        self.catalogue = catalogue
        self.features = features

    def explain(
        self, context: UserContext | None, history: Indices, found: Indices, transitions: TransitionTable | None
    ) -> tuple[Explanation, list[ScoreParts]]:
        """Say what the answer to a user was read from, and find the parts of the score of each item found [n].

        ``transitions`` are the rows that it was read from.
        """
        if context is None:
            transitions = None
        if context is not None and transitions is not None and self.scorer.only_popularity(context, history):
            return self._popularity(transitions, found)
        read = self.queries.parts(context, history)
        memory, nothing = self._memory(context, read)
        fusion = dict(zip(("sequence", "retriever"), read.fusion, strict=True))
        if transitions is not None:
            fusion["transitions"] = self.scorer.strengths.after(history)
        gates = {modality.value: gate for modality, gate in read.gates.items()}
        parts = self._parts(read, found)
        if transitions is not None:
            parts = self._with_transitions(parts, transitions, history, found)
        return Explanation(fusion=fusion, gates=gates, memory=memory, nothing=nothing), parts

    def _popularity(self, transitions: TransitionTable, found: Indices) -> tuple[Explanation, list[ScoreParts]]:
        """Say that the answer is by popularity alone."""
        fusion = {"sequence": 0.0, "retriever": 0.0, "transitions": self.scorer.strengths.general}
        scores = self._by_popularity(transitions, found)
        parts = [ScoreParts(sequence=0.0, experts={}, availability=0.0, popularity=score) for score in scores]
        return Explanation(fusion=fusion, gates={}, memory=(), nothing={}), parts

    def _by_popularity(self, transitions: TransitionTable, found: Indices) -> list[float]:
        scores: list[float] = transitions.popularity.times(self.scorer.strengths.general).of(found).tolist()
        return scores

    def _with_transitions(
        self, parts: Sequence[ScoreParts], transitions: TransitionTable, history: Indices, found: Indices
    ) -> list[ScoreParts]:
        """Add what each item of the history has made of each score by the transition memory; of none, popularity."""
        if not len(history):
            scores = self._by_popularity(transitions, found)
            return [one.model_copy(update={"popularity": x}) for one, x in zip(parts, scores, strict=True)]
        kin = self.scorer.kin
        items, added = kin.reasons(transitions, history, found) if kin else transitions.reasons(history, found)
        added = np.float32(self.scorer.strengths.after(history)) * added
        return [
            one.model_copy(update={"remembered": self._remembered(items, column)})
            for one, column in zip(parts, added.T, strict=True)
        ]

    def _remembered(self, items: Indices, added: npt.NDArray[np.float32]) -> tuple[RememberedPart, ...]:
        """Name the items that add anything, each once, the most first."""
        totals: dict[int, float] = {}
        for index, score in zip(items.tolist(), added.tolist(), strict=True):
            if score:
                totals[index] = totals.get(index, 0.0) + score
        named = ((self.catalogue.item(index), score) for index, score in totals.items())
        parts = [RememberedPart(item_id=item.item_id, title=item.label, score=score) for item, score in named]
        return tuple(sorted(parts, key=lambda part: -part.score))

    def _parts(self, read: QueryParts, found: Indices) -> list[ScoreParts]:
        parts = self.dense_parts(read, found)
        sequence, availability = parts.pop("sequence"), parts.pop("availability", np.zeros(len(found)))
        return [
            ScoreParts(
                sequence=float(sequence[i]),
                experts={name: float(scores[i]) for name, scores in parts.items()},
                availability=float(availability[i]),
            )
            for i in range(len(found))
        ]

    def dense_parts(self, read: QueryParts, found: Indices) -> dict[str, Doubles]:
        """Compute what the summands of a query add to the scores of some items [n], by name."""
        table = self.scorer.table
        parts = {"sequence": _products(read.sequence, table.embedding, found)}
        parts |= {m.value: _products(part, table.vectors[m], found) for m, part in read.experts.items()}
        if read.availability is not None:
            patterns = read.availability.shape[-1]
            parts["availability"] = _products(read.availability, table.matrix[:, -patterns:], found)
        return parts

    def _memory(
        self, context: UserContext | None, read: QueryParts
    ) -> tuple[tuple[MemoryWeight, ...], dict[str, float]]:
        if context is None or not read.weights:
            return (), {}
        entries = context.memory.items if context.memory is not None else np.zeros(0, np.int32)
        named = [self._entry(int(index)) for index in entries] + [
            MemoryWeight(kind="prototype", item_id=None, prototype=k, title=title, weights={})
            for k, title in enumerate(self.prototype_titles if self.scorer.global_memory is not None else ())
        ]
        weighed = [
            one.model_copy(update={"weights": {m.value: float(weights[place]) for m, weights in read.weights.items()}})
            for place, one in enumerate(named)
        ]
        nothing = {m.value: float(weights[-1]) for m, weights in read.weights.items()}
        return tuple(sorted(weighed, key=lambda one: -max(one.weights.values()))), nothing

    def _entry(self, index: int) -> MemoryWeight:
        item = self.catalogue.item(index)
        return MemoryWeight(kind="item", item_id=item.item_id, prototype=None, title=item.label, weights={})

    @cached_property
    def prototype_titles(self) -> tuple[str, ...]:
        """The titles nearest to each global prototype, in the space that they are clustered in."""
        assert self.scorer.global_memory is not None
        nearest = nearest_items(self.scorer.global_memory, self._clustered)
        return tuple(" · ".join(self.catalogue.item(int(i)).label for i in row) or "(empty)" for row in nearest)

    @property
    def _clustered(self) -> npt.NDArray[np.float32]:
        """Item vectors [I + 1, D] in the clustering space."""
        assert self.scorer.global_memory is not None
        frozen = self.features.vectors.get(self.scorer.global_memory.clustering_block)
        if frozen is not None:
            return frozen.rows
        ids: npt.NDArray[np.float32] = self.scorer.table.embedding.detach().float().cpu().numpy()
        return ids


def nearest_items(prototypes: Prototypes, vectors: npt.NDArray[np.float32]) -> Sequence[Indices]:
    """Find the items of greatest cosine to each prototype, best first; none of an empty prototype."""
    space = prototypes.clustering_block
    centroids, present = prototypes.centroids(space), prototypes.present(space)
    length = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
    cosine = centroids @ vectors.T / length  # [K, I + 1], up to the prototype's own length
    cosine[:, ~vectors.any(1)] = -np.inf  # padding, and items without the modality
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :NEAREST]
    return [row if there else row[:0] for row, there in zip(order, present, strict=True)]


def _products(part: FloatArray, vectors: Tensor, found: Indices) -> Doubles:
    """Compute ⟨part, vector of each item⟩ in double precision: [Z], [n, Z] at [m] -> [m]."""
    items = vectors[found].detach().double().cpu().numpy()
    products: Doubles = items @ part.astype(np.float64)
    return products
