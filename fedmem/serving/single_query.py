"""One user's query in numpy: what ``ModelScorer.queries`` computes for a batch of one, in a third of the time.

A batch of one is some hundred calls on a few thousand numbers; what a tensor library spends on a call then costs more
than the arithmetic. Everything that depends on the model alone is laid out once. What an explanation needs is kept: the
query's summands and what each expert read.
"""

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.memory.local_memory import MemoryEntries
from fedmem.model.layers import LayerNorm, Linear
from fedmem.model.preference_retriever import PreferenceExpert
from fedmem.model.recommender import UR4RecV2MoE
from fedmem.model.sasrec import Block

FloatArray = npt.NDArray[np.float32]
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
    experts: dict[str, FloatArray]
    availability: FloatArray | None
    fusion: tuple[float, float]
    gates: dict[str, float]
    weights: dict[str, FloatArray]


class SingleQueries:
    """Queries of single users by the model and the global memory of a scorer.

    Args:
        scorer: a scorer in single precision on the CPU.
    """

    @torch.inference_mode()
    def __init__(self, scorer: ModelScorer) -> None:
        model = scorer.model
        self._sasrec = _SASRec(model, _array(scorer.table.embedding))
        self._width = len(scorer.columns)
        self._fusion = _Fusion(model)
        self._experts: dict[str, _Expert] = {}
        self._item_dim = 0
        self._router = self._availability = None
        if model.retriever is not None:
            self._experts = {name: _Expert(name, expert, scorer) for name, expert in model.retriever.named_experts()}
            self._router = None if model.retriever.router is None else _Linear(model.retriever.router)
            biases = model.retriever.availability
            self._availability = None if biases is None else _Linear(biases)
            self._item_dim = model.retriever.item_dim
        self._has_prototypes = scorer.prototypes is not None

    def query(self, context: UserContext | None, history: Indices) -> FloatArray:
        """The query vector q_u after a whole history [D_x]. Without a context no memory is read, nor the global one."""
        parts = self.parts(context, history)
        if not self._experts:
            return parts.sequence
        blocks = [parts.sequence + parts.experts["sequential"] if parts.experts else parts.sequence]
        nothing = np.zeros(self._item_dim, np.float32)
        blocks += [parts.experts.get(name, nothing) for name in ("text", "visual") if name in self._experts]
        if parts.availability is not None:
            blocks.append(parts.availability)
        return np.concatenate(blocks)

    def parts(self, context: UserContext | None, history: Indices) -> QueryParts:
        """The summands of the query after a whole history, as ``query``."""
        h = self._sasrec.state(history)
        if not self._experts:
            return QueryParts(h, {}, None, (1.0, 0.0), {}, {})
        a, b = self._fusion.weights(h)
        biases = None if self._availability is None else b * self._availability(h)
        if context is None or (context.memory is None and not self._has_prototypes):
            return QueryParts(a * h, {}, biases, (a, b), {}, {})
        gates, experts, weights = self._gates(h), {}, {}
        readable = None if context.memory is None else context.memory.index < len(history)
        by_mass = self._has_prototypes and not len(history) and not context.remembers
        for name, expert in self._experts.items():
            slots, present = expert.slots(context.memory, readable)
            read = expert.mass if by_mass else expert.attend(h, slots, present, context.preference)
            experts[name] = (b * gates[name]) * expert.preference(slots, read)
            weights[name] = read.mean(0)
        return QueryParts(a * h, experts, biases, (a, b), gates, weights)

    def _gates(self, h: FloatArray) -> dict[str, float]:
        if self._router is None:
            return dict.fromkeys(self._experts, 1.0)
        return dict(zip(self._experts, _softmax(self._router(h)).tolist(), strict=True))


class _SASRec:
    """The sequence model, the last block of which works on the last position only."""

    def __init__(self, model: UR4RecV2MoE, embedding: FloatArray) -> None:
        sasrec = model.sasrec
        self.embedding = embedding
        self.positions = _array(sasrec.position_embedding)
        self.start = _array(sasrec.start_token) + self.positions[0]
        self.blocks = [_Block(block) for block in sasrec.blocks if isinstance(block, Block)]
        self.scale, self.shift = _array(sasrec.final_norm.weight), _array(sasrec.final_norm.bias)
        self.epsilon = np.float32(sasrec.final_norm.eps)
        self.longest = sasrec.max_seq_len
        self.future = np.tril(np.full((self.longest + 1, self.longest + 1), -np.inf, np.float32), -1)

    def state(self, history: Indices) -> FloatArray:
        """The state after the last L items [D]."""
        window = history[-self.longest :]
        x = np.empty((len(window) + 1, len(self.start)), np.float32)
        x[0] = self.start
        np.add(self.embedding.take(window, axis=0), self.positions[1 : len(window) + 1], out=x[1:])
        for block in self.blocks[:-1]:
            x = block(x, x, self.future[: len(x), : len(x)])
        state: FloatArray = _normalised(self.blocks[-1](x, x[-1:], None), self.epsilon)[0] * self.scale + self.shift
        return state


class _Block:
    """A block's positions [t, D] seen from some of them, the last ones [n, D]."""

    def __init__(self, block: Block) -> None:
        attention = block.attention
        self.heads = attention.heads
        self.epsilon = np.float32(block.attention_norm.eps)
        query = _Linear(attention.query, norm=block.attention_norm)
        query.scale(float(attention.query.out_features // self.heads) ** -0.5)
        key_value = _Linear(attention.key, attention.value, norm=block.attention_norm)
        self.query, self.key_value, self.all = query, key_value, query.beside(key_value)
        self.output = _Linear(attention.output)
        self.expand, self.contract = _Linear(block.expand, norm=block.feed_forward_norm), _Linear(block.contract)

    def __call__(self, x: FloatArray, own: FloatArray, mask: FloatArray | None) -> FloatArray:
        """[t, D] seen from [n, D] with the mask [t, n] -> [n, D]."""
        own = own + self.output(self._attended(x, own, mask))
        hidden = self.expand(_normalised(own, self.epsilon))
        return own + self.contract(np.maximum(hidden, 0, out=hidden))

    def _attended(self, x: FloatArray, own: FloatArray, mask: FloatArray | None) -> FloatArray:
        q, k, v = self._projected(_normalised(x, self.epsilon), own)
        # Keys stand before queries, because a softmax over the last but one dimension is the quicker one.
        logits = np.matmul(k, q.transpose(0, 2, 1))  # [H, t, n]
        if mask is not None:
            logits += mask
        weights = _softmax(logits, axis=-2).transpose(0, 2, 1)
        attended: FloatArray = np.matmul(weights, v).transpose(1, 0, 2).reshape(own.shape)
        return attended

    def _projected(self, normal: FloatArray, own: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Queries [H, n, D/H], keys and values [H, t, D/H]."""
        t, n = len(normal), len(own)
        if n == t:
            q, k, v = self.all(normal).reshape(t, 3, self.heads, -1).transpose(1, 2, 0, 3)
            return q, k, v
        k, v = self.key_value(normal).reshape(t, 2, self.heads, -1).transpose(1, 2, 0, 3)
        return self.query(normal[-n:]).reshape(n, self.heads, -1).transpose(1, 0, 2), k, v


class _Expert:
    """A preference expert. A head's key and value matrices work on its query and on what it read, not on each entry."""

    def __init__(self, name: str, expert: PreferenceExpert, scorer: ModelScorer) -> None:
        heads, dim = expert.heads, expert.query.out_features
        self.query, self.output = _Linear(expert.query), _Linear(expert.output)
        self.query.scale(float(dim // heads) ** -0.5)
        self.text = None if expert.preference_query is None else _Linear(expert.preference_query)
        if self.text is not None:
            self.text.scale(float(dim // heads) ** -0.5)
        self.key = _array(expert.key.weight).reshape(heads, dim // heads, -1)  # [H, D/H, Z]
        self.value = (
            _array(expert.value.weight).reshape(heads, dim // heads, -1).transpose(0, 2, 1).copy()
        )  # [H, Z, D/H]
        self._place_items(name, scorer)
        self._place_prototypes(name, scorer)

    def _place_items(self, name: str, scorer: ModelScorer) -> None:
        """Where entries' vectors come from: the items' own, or, for None, the memory."""
        model, table = scorer.model, scorer.table
        vectors, mask = {"text": (table.text, model.text_mask), "visual": (table.visual, model.image_mask)}.get(
            name, (None, None)
        )
        self.vectors = None if vectors is None else _array(vectors)
        self.present: BoolArray | None = None if mask is None or bool(mask[1:].all()) else mask.cpu().numpy()

    def _place_prototypes(self, name: str, scorer: ModelScorer) -> None:
        """The prototypes as the expert sees them, with the null slot behind."""
        prototypes = np.zeros((0, self.key.shape[-1]), np.float32)
        present = np.zeros(0, bool)
        mass = np.zeros(0, np.float32)
        if scorer.prototypes is not None and scorer.global_memory is not None:
            vectors, there = scorer.model.adapt_prototypes(name, scorer.prototypes)
            prototypes, present, mass = _array(vectors), there.cpu().numpy(), scorer.global_memory.mass
        self.always = np.concatenate([prototypes, np.zeros_like(prototypes, shape=(1, self.key.shape[-1]))])
        self.always_present = np.append(present, True)
        by_mass = np.append(mass * present, 0).astype(np.float32)
        by_mass[-1] = by_mass.sum() == 0
        self.mass = (by_mass / by_mass.sum())[None]  # [1, K + 1]

    def slots(self, memory: MemoryEntries | None, readable: BoolArray | None) -> tuple[FloatArray, BoolArray]:
        """What may be read: entries, prototypes and nothing [M + K + 1, Z], and which of them [M + K + 1]."""
        if memory is None or readable is None or not len(memory):
            return self.always, self.always_present
        entries = memory.id_embedding if self.vectors is None else self.vectors.take(memory.items, axis=0)
        present = readable if self.present is None else readable & self.present[memory.items]
        return np.concatenate([entries, self.always]), np.concatenate([present, self.always_present])

    def attend(self, h: FloatArray, slots: FloatArray, present: BoolArray, preference: FloatArray | None) -> FloatArray:
        """Attention weights [H, M + K + 1]."""
        query = self.query(h)
        if self.text is not None and preference is not None:
            query += self.text(preference)
        key = (query.reshape(len(self.key), 1, -1) @ self.key)[:, 0]  # [H, Z]
        logits: FloatArray = np.matmul(key, slots.T)
        logits[:, ~present] = -np.inf
        return _softmax(logits)

    def preference(self, slots: FloatArray, weights: FloatArray) -> FloatArray:
        """The preference vector p_e [Z] of what is read with these weights, by head or the same for all."""
        read: FloatArray = np.matmul(np.matmul(weights, slots)[:, None], self.value)  # [H, 1, D/H]
        return self.output(read.ravel())


class _Fusion:
    """The two weights of the fusion."""

    def __init__(self, model: UR4RecV2MoE) -> None:
        self.fixed: tuple[float, float] | None = None
        if model.retriever is None:
            return
        fusion = model.fusion
        if fusion.method == "weighted":
            self.fixed = (1.0, fusion.ratio)
        elif fusion.method == "learned":
            self.fixed = (float(fusion.scalars[0]), float(fusion.scalars[1]))
        else:
            self.gate, self.ratio = _Linear(fusion.gate), fusion.ratio

    def weights(self, h: FloatArray) -> tuple[float, float]:
        """(a, b) of a user's state [D]."""
        if self.fixed is not None:
            return self.fixed
        sequence, retriever = (2 * _softmax(self.gate(h))).tolist()
        return sequence, self.ratio * retriever


class _Linear:
    """x·W + b with W [in, out], of one layer or of several side by side, behind the weights of a layer norm or not."""

    def __init__(self, *layers: Linear, norm: LayerNorm | None = None) -> None:
        self.weight = np.concatenate([_array(layer.weight) for layer in layers]).T.copy()
        self.bias: FloatArray | None = None
        if norm is not None or any(layer.bias is not None for layer in layers):
            self.bias = np.concatenate([_bias(layer) for layer in layers])
        if norm is not None:
            self.bias = self.bias + _array(norm.bias) @ self.weight
            self.weight = _array(norm.weight)[:, None] * self.weight

    def scale(self, factor: float) -> None:
        """Multiply what the layer gives."""
        self.weight = self.weight * np.float32(factor)
        self.bias = None if self.bias is None else self.bias * np.float32(factor)

    def beside(self, other: "_Linear") -> "_Linear":
        """Both as one layer; each has a bias."""
        both = copy.copy(self)
        assert self.bias is not None
        assert other.bias is not None
        both.weight = np.concatenate([self.weight, other.weight], axis=1)
        both.bias = np.concatenate([self.bias, other.bias])
        return both

    def __call__(self, x: FloatArray) -> FloatArray:
        """[.., in] -> [.., out]."""
        y: FloatArray = x @ self.weight
        if self.bias is not None:
            y += self.bias
        return y


def _normalised(x: FloatArray, epsilon: np.float32) -> FloatArray:
    """Rows of mean 0 and variance 1 [n, D]: layer normalisation before its weights."""
    mean = np.full((x.shape[1], 1), 1 / x.shape[1], np.float32)
    centred: FloatArray = np.subtract(x, x @ mean)
    variance = np.einsum("nd,nd->n", centred, centred)[:, None] / np.float32(x.shape[1])
    centred /= np.sqrt(variance + epsilon)
    return centred


def _softmax(logits: FloatArray, axis: int = -1) -> FloatArray:
    """Over one dimension, in place."""
    logits -= np.maximum.reduce(logits, axis=axis, keepdims=True)
    np.exp(logits, out=logits)
    logits /= np.add.reduce(logits, axis=axis, keepdims=True)
    return logits


def _bias(layer: Linear) -> FloatArray:
    return np.zeros(layer.out_features, np.float32) if layer.bias is None else _array(layer.bias)


def _array(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.detach().float().cpu().numpy()
    return array
