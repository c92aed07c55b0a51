"""TextPreferenceRetrieverMoE: an expert for each modality that reads the memory.

An expert turns the user's state into a preference vector by attention over the retrieved memory in its own modality.
The router weighs the experts by the user's state alone, so that the score stays one inner product.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedmem.modality import Modality
from fedmem.model.item_vectors import MaskedVectors
from fedmem.model.layers import FloatArray, Linear, NumpyLinear, array_of, softmax
from fedmem.model.sasrec import Dropout, join_heads, no_dropout, split_heads

BoolArray = npt.NDArray[np.bool_]


# Centroids of the global abstract memory by modality [K, D_m], and which of them hold anything.
PrototypeVectors = Mapping[Modality, MaskedVectors]


@dataclass(frozen=True)
class RetrievedMemory:
    """What a batch of segments reads: local entries and, appended to all, the global prototypes.

    Attributes:
        items: item index of each local entry, 0 where there is none [B, M].
        index: history index of each local entry [B, M]; a position whose target has index t reads those < t.
        id_embedding: the entries' id embeddings as they were written [B, M, D].
        prototypes: the global abstract memory, or None.
    """

    items: Tensor
    index: Tensor
    id_embedding: Tensor
    prototypes: PrototypeVectors | None = None


@dataclass(frozen=True)
class Preference:
    """Encoded preference texts.

    Attributes:
        text: [B, D_t].
        readable: whether a position may read it [B, T].
    """

    text: Tensor
    readable: Tensor


class PreferenceExpert(nn.Module):
    """Attention from the user's state over memory vectors, with a null slot of zero key and zero value.

    The output matrix starts at zero: switching the expert on starts from the ranking without it. Key and value have
    no bias and the null slot no value, so that an empty memory reads as exactly nothing. A preference text asks along
    with the state, and has a value beside the attention: as one slot among fifty it would be next to nothing.
    """

    def __init__(self, state_dim: int, item_dim: int, heads: int, text_dim: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(state_dim, state_dim)
        self.preference_query = Linear(text_dim, state_dim, bias=False) if text_dim else None
        self.preference_value = Linear(text_dim, state_dim, bias=False) if text_dim else None
        self.key = Linear(item_dim, state_dim, bias=False)
        self.value = Linear(item_dim, state_dim, bias=False)
        self.output = Linear(state_dim, item_dim, bias=False)

    def read(self, h: Tensor, vectors: Tensor, readable: Tensor, preference: "Preference | None") -> Tensor:
        """Read at each position.

        Args:
            h: states [B, T, D].
            vectors: memory in the expert's modality [B, M, Z].
            readable: whether position t may read entry m [B, T, M].
            preference: the users' encoded preference texts, or None.

        Returns:
            The read vectors [B, T, D], with the preference text's value; zero where nothing is readable.
        """
        slots = with_null_slot(vectors)
        read = self.values_of(slots, self.attend(h, slots, readable, preference))
        return read if preference is None else read + self._of_text(self.preference_value, preference)

    def attend(self, h: Tensor, slots: Tensor, readable: Tensor, preference: "Preference | None") -> Tensor:
        """Compute attention weights by head over ``slots`` [B, M + 1, Z], the null slot last -> [B, H, T, M + 1]."""
        query = self.query(h)
        if preference is not None:
            query = query + self._of_text(self.preference_query, preference)
        q, k = split_heads(query, self.heads), split_heads(self.key(slots), self.heads)
        logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5  # [B, H, T, M + 1]
        readable = F.pad(readable, (0, 1), value=True)
        weights: Tensor = logits.masked_fill(~readable.unsqueeze(1), float("-inf")).softmax(-1)
        return weights

    @staticmethod
    def _of_text(matrix: Linear | None, preference: "Preference") -> Tensor | float:
        """Map the texts where they may be read [B, T, D]; 0 for an expert that takes none."""
        if matrix is None:
            return 0.0
        mapped: Tensor = matrix(preference.text.unsqueeze(1))  # [B, 1, D]
        return mapped * preference.readable.unsqueeze(-1)

    def values_of(self, slots: Tensor, weights: Tensor) -> Tensor:
        """Sum what is read of [B, M + 1, Z] with weights [B, H, T, M + 1], or one [B, 1, T, M + 1] for all heads."""
        return join_heads(weights @ split_heads(self.value(slots), self.heads))


def with_null_slot(vectors: Tensor) -> Tensor:
    """Append a zero slot: [B, M, Z] -> [B, M + 1, Z]."""
    return F.pad(vectors, (0, 0, 0, 1))


class NumpyExpert:
    """``PreferenceExpert`` of one user, in numpy.

    A head's key and value matrices work on its query and on what it read, not on each entry.
    """

    def __init__(self, expert: PreferenceExpert) -> None:
        heads, dim = expert.heads, expert.query.out_features
        self.query, self.output = NumpyLinear(expert.query), NumpyLinear(expert.output)
        self.query.scale(float(dim // heads) ** -0.5)
        self.text = None if expert.preference_query is None else NumpyLinear(expert.preference_query)
        self.text_value = None if expert.preference_value is None else NumpyLinear(expert.preference_value)
        if self.text is not None:
            self.text.scale(float(dim // heads) ** -0.5)
        self.key = array_of(expert.key.weight).reshape(heads, dim // heads, -1)  # [H, D/H, Z]
        value = array_of(expert.value.weight).reshape(heads, dim // heads, -1)
        self.value = value.transpose(0, 2, 1).copy()  # [H, Z, D/H]

    @property
    def item_dim(self) -> int:
        """Size Z of the item vectors that it reads."""
        return self.key.shape[-1]

    def attend(self, h: FloatArray, slots: FloatArray, present: BoolArray, preference: FloatArray | None) -> FloatArray:
        """Weigh the slots [n, Z] that are present [n], the null slot among them, by a state [D] -> [H, n]."""
        query = self.query(h)
        if self.text is not None and preference is not None:
            query += self.text(preference)
        key = (query.reshape(len(self.key), 1, -1) @ self.key)[:, 0]  # [H, Z]
        logits: FloatArray = np.matmul(key, slots.T)
        logits[:, ~present] = -np.inf
        return softmax(logits)

    def preference(self, slots: FloatArray, weights: FloatArray, text: FloatArray | None = None) -> FloatArray:
        """Make the preference vector p_e [Z] of slots [n, Z] read with weights [H, n], or [1, n] for all heads.

        ``text`` is the user's encoded preference text [D_t], or None.
        """
        read: FloatArray = np.matmul(np.matmul(weights, slots)[:, None], self.value).ravel()  # [D]
        if self.text_value is not None and text is not None:
            read = read + self.text_value(text)
        return self.output(read)


class TextPreferenceRetrieverMoE(nn.Module):
    """The mixture of experts: a sequential one, and one for each modality that items have frozen features of.

    Args:
        state_dim: size D of the user's state and of the id block.
        item_dim: size Z of the item vectors that frozen features are adapted to.
        heads: attention heads of an expert.
        dropout: probability on what an expert read.
        feature_dims: size D_m of the frozen features by modality. The text expert's query sees preference texts, too.
        num_availability: number of patterns of modalities that items have (one needs no bias).
    """

    def __init__(
        self,
        state_dim: int,
        item_dim: int,
        heads: int,
        dropout: float,
        feature_dims: Mapping[Modality, int],
        num_availability: int,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.item_dim = item_dim
        self.experts = nn.ModuleDict({Modality.SEQUENTIAL.value: PreferenceExpert(state_dim, state_dim, heads)})
        for modality, dim in feature_dims.items():
            self.add_module(f"{modality}_adapter", Linear(dim, item_dim, bias=False))
            preference_dim = dim if modality is Modality.TEXT else None
            self.experts[modality.value] = PreferenceExpert(state_dim, item_dim, heads, preference_dim)
        self.router = Linear(state_dim, len(self.experts)) if len(self.experts) > 1 else None
        self.availability = Linear(state_dim, num_availability - 1) if num_availability > 1 else None

    def adapter(self, modality: Modality) -> Linear:
        """Look up the matrix that adapts frozen features [.., D_m] to item vectors [.., Z]."""
        adapter = getattr(self, f"{modality}_adapter")
        assert isinstance(adapter, Linear)
        return adapter

    def gates(self, h: Tensor) -> dict[Modality, Tensor]:
        """Compute the router's weights g_e(u) by expert, [B, T, 1] each, summing to one."""
        modalities = map(Modality, self.experts)
        if self.router is None:
            return {modality: h.new_ones(*h.shape[:-1], 1) for modality in modalities}
        return dict(zip(modalities, self.router(h).softmax(-1).split(1, dim=-1), strict=True))

    def imbalance(self, h: Tensor) -> Tensor:
        """Compute E·Σ_e g_e² − 1 of E experts, [B, T, D] -> [B, T]: 0 where all weigh the same, at most E − 1.

        The squared coefficient of variation of Shazeer et al. (ICLR 2017), here of each position by itself.
        """
        gates = torch.cat(list(self.gates(h).values()), dim=-1)
        return gates.shape[-1] * gates.square().sum(-1) - 1

    def preferences(
        self, h: Tensor, read: Mapping[Modality, Tensor], drop: Dropout = no_dropout
    ) -> dict[Modality, Tensor]:
        """Compute the gated preference vectors g_e(u)·p_e(u) by expert: [B, T, Z_e]."""
        gates = self.gates(h)
        return {
            modality: gates[modality] * expert.output(drop(read[modality], self.dropout))
            for modality, expert in self.by_modality()
        }

    def by_modality(self) -> list[tuple[Modality, PreferenceExpert]]:
        """List the experts with their modalities, the sequential one first."""
        return [(Modality(name), e) for name, e in self.experts.items() if isinstance(e, PreferenceExpert)]
