"""SASRec: self-attentive sequential recommendation (Kang and McAuley, ICDM 2018), pre-norm, with a start token.

One causal pass over ``START, item_1 .. item_T`` gives the states of all T + 1 prefixes; the state after START alone
is that of an empty history.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedmem.model.attention import causal_attention
from fedmem.model.layers import FloatArray, LayerNorm, Linear, NumpyLinear, array_of, normalised, softmax, take
from fedmem.model.packing import Packing

Indices = npt.NDArray[np.integer]
Dropout = Callable[[Tensor, float], Tensor]


def no_dropout(x: Tensor, probability: float) -> Tensor:
    """Drop nothing, as in evaluation."""
    return x


class CausalSelfAttention(nn.Module):
    """Multi-head causal attention; the key has no bias, because its gradient is zero."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(dim, dim)
        self.key = Linear(dim, dim, bias=False)
        self.value = Linear(dim, dim)
        self.output = Linear(dim, dim)

    def forward(self, x: Tensor, packing: Packing | None = None) -> Tensor:
        """Attend: [B, T, D] -> [B, T, D]; padding is at the end, where causality already hides it."""
        q, k, v = self.query(x), self.key(x), self.value(x)
        if packing is None:
            q, k, v = (split_heads(y, self.heads) for y in (q, k, v))
            attended = join_heads(F.scaled_dot_product_attention(q, k, v, is_causal=True))
        else:
            q, k, v = (packing.to_segments(y, self.heads) for y in (q, k, v))  # [S·H, T, D/H]
            attended = packing.to_rows(causal_attention(q, k, v), self.heads)
        mixed: Tensor = self.output(attended)
        return mixed

    def at(self, x: Tensor, own: Tensor, readable: Tensor | None) -> Tensor:
        """Do as ``forward``, for one position per row.

        Args:
            x: all positions [B, T, D].
            own: the one position [B, 1, D].
            readable: the positions that it sees [B, 1, 1, T]; None for all.

        Returns:
            [B, 1, D].
        """
        q, k, v = (split_heads(y, self.heads) for y in (self.query(own), self.key(x), self.value(x)))
        mixed: Tensor = self.output(join_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=readable)))
        return mixed


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Split [B, T, D] into [B, H, T, D / H]."""
    split: Tensor = x.unflatten(-1, (heads, -1))
    return split.transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """Join [B, H, T, D / H] to [B, T, D]."""
    return x.transpose(1, 2).flatten(-2)


class Block(nn.Module):
    """Pre-norm attention and point-wise feed-forward, each with a residual path."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(dim)
        self.attention = CausalSelfAttention(dim, heads)
        self.feed_forward_norm = LayerNorm(dim)
        self.expand = Linear(dim, dim)
        self.contract = Linear(dim, dim)

    def forward(self, x: Tensor, drop: Dropout, probability: float, packing: Packing | None = None) -> Tensor:
        """Apply the block: [B, T, D] -> [B, T, D]."""
        x = x + drop(self.attention(self.attention_norm(x), packing), probability)
        updated: Tensor = x + drop(self._feed_forward(x), probability)
        return updated

    def at(self, x: Tensor, last: Tensor | None) -> Tensor:
        """Do as ``forward`` without dropout, at one position a row: ``last`` [B], or the end for None -> [B, 1, D]."""
        normal = self.attention_norm(x)
        own, readable = normal[:, -1:], None
        if last is None:
            x = x[:, -1:]
        else:
            rows = torch.arange(len(x), device=x.device)
            readable = (torch.arange(x.shape[1], device=x.device) <= last[:, None])[:, None, None]
            own, x = normal[rows, last][:, None], x[rows, last][:, None]
        x = x + self.attention.at(normal, own, readable)
        return x + self._feed_forward(x)

    def _feed_forward(self, x: Tensor) -> Tensor:
        fed: Tensor = self.contract(F.relu(self.expand(self.feed_forward_norm(x))))
        return fed


class SASRec(nn.Module):
    """The sequence model: item and position embeddings, a start token, causal blocks.

    Item index 0 is padding; its row is never trained, because no loss reads it.
    """

    def __init__(
        self, num_items: int, hidden_dim: int, num_blocks: int, num_heads: int, dropout: float, max_seq_len: int
    ) -> None:
        super().__init__()
        self.max_seq_len = max_seq_len
        self.dropout = dropout
        self.item_embedding = nn.Parameter(torch.empty(num_items + 1, hidden_dim))
        self.position_embedding = nn.Parameter(torch.empty(max_seq_len + 1, hidden_dim))
        self.start_token = nn.Parameter(torch.empty(hidden_dim))
        self.blocks = nn.ModuleList(Block(hidden_dim, num_heads) for _ in range(num_blocks))
        self.final_norm = LayerNorm(hidden_dim)

    def encode(self, embedded: Tensor, drop: Dropout = no_dropout) -> Tensor:
        """Compute the states of all prefixes: [B, T, D] embedded items -> [B, T + 1, D], the first after START alone.

        Raises:
            ValueError: if T exceeds ``max_seq_len``.
        """
        return self._transform(self._inputs(embedded), drop)

    def encode_last(self, embedded: Tensor, length: Tensor | None = None) -> Tensor:
        """Compute the state after each whole context, without dropout: [B, T, D] embedded items -> [B, 1, D].

        The last block has no use for the other positions' states, which saves most of its work.

        Args:
            embedded: the contexts' items, right-padded [B, T, D].
            length: how many items each context has [B]; None where nothing is padded.
        """
        x = self._inputs(embedded)
        for block in self.blocks[:-1]:
            x = block(x, no_dropout, 0.0)
        final = self.blocks[-1]
        assert isinstance(final, Block)
        state: Tensor = self.final_norm(final.at(x, length))
        return state

    def _inputs(self, embedded: Tensor) -> Tensor:
        """Return START and the items with their positions: [B, T, D] -> [B, T + 1, D]."""
        batch, length, _ = embedded.shape
        if length > self.max_seq_len:
            raise ValueError(f"a context of {length} items exceeds max_seq_len = {self.max_seq_len}")
        start = self.start_token.expand(batch, 1, -1)
        return torch.cat([start, embedded], dim=1) + self.position_embedding[: length + 1]

    def encode_packed(self, embedded: Tensor, packing: Packing, drop: Dropout = no_dropout) -> Tensor:
        """Compute the states of all tokens of packed segments: [C, P, D] embedded inputs -> [C, P, D].

        A token's input is the item before it or, at a segment's start (whatever stands in ``embedded``), START.
        """
        is_start = (packing.position == 0).unsqueeze(-1)  # [C, P, 1]
        x = torch.where(is_start, self.start_token.unsqueeze(-2), embedded)
        return self._transform(x + take(self.position_embedding, packing.position), drop, packing)

    def _transform(self, x: Tensor, drop: Dropout, packing: Packing | None = None) -> Tensor:
        x = drop(x, self.dropout)
        for block in self.blocks:
            x = block(x, drop, self.dropout, packing)
        states: Tensor = self.final_norm(x)
        return states

    def forward(self, items: Tensor, drop: Dropout = no_dropout) -> Tensor:
        """Compute the states of all prefixes of [B, T] item indices -> [B, T + 1, D]."""
        return self.encode(self.item_embedding[items], drop)


class NumpyBlock:
    """``Block`` without dropout, in numpy: its positions [t, D] seen from some of them, the last ones [n, D]."""

    def __init__(self, block: Block) -> None:
        attention = block.attention
        self.heads = attention.heads
        self.epsilon = np.float32(block.attention_norm.eps)
        query = NumpyLinear(attention.query, norm=block.attention_norm)
        query.scale(float(attention.query.out_features // self.heads) ** -0.5)
        key_value = NumpyLinear(attention.key, attention.value, norm=block.attention_norm)
        self.query, self.key_value, self.all = query, key_value, query.beside(key_value)
        self.output = NumpyLinear(attention.output)
        self.expand, self.contract = (
            NumpyLinear(block.expand, norm=block.feed_forward_norm),
            NumpyLinear(block.contract),
        )

    def __call__(self, x: FloatArray, own: FloatArray, mask: FloatArray | None) -> FloatArray:
        """Apply the block to ``own`` [n, D], which attends to ``x`` [t, D] under the mask [t, n]; return [n, D]."""
        own = own + self.output(self._attended(x, own, mask))
        hidden = self.expand(normalised(own, self.epsilon))
        return own + self.contract(np.maximum(hidden, 0, out=hidden))

    def _attended(self, x: FloatArray, own: FloatArray, mask: FloatArray | None) -> FloatArray:
        q, k, v = self._projected(normalised(x, self.epsilon), own)
        # Keys stand before queries, because a softmax over the last but one dimension is the quicker one.
        logits = np.matmul(k, q.transpose(0, 2, 1))  # [H, t, n]
        if mask is not None:
            logits += mask
        weights = softmax(logits, axis=-2).transpose(0, 2, 1)
        attended: FloatArray = np.matmul(weights, v).transpose(1, 0, 2).reshape(own.shape)
        return attended

    def _projected(self, normal: FloatArray, own: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return queries [H, n, D/H], keys and values [H, t, D/H]."""
        t, n = len(normal), len(own)
        if n == t:
            q, k, v = self.all(normal).reshape(t, 3, self.heads, -1).transpose(1, 2, 0, 3)
            return q, k, v
        k, v = self.key_value(normal).reshape(t, 2, self.heads, -1).transpose(1, 2, 0, 3)
        return self.query(normal[-n:]).reshape(n, self.heads, -1).transpose(1, 0, 2), k, v


class NumpySASRec:
    """``SASRec.encode_last`` of one history, in numpy: the last block works on the last position only.

    Args:
        sasrec: the sequence model, in single precision on the CPU.
        embedding: the items' embeddings e_i [I + 1, D].
    """

    def __init__(self, sasrec: SASRec, embedding: FloatArray) -> None:
        self.embedding = embedding
        self.positions = array_of(sasrec.position_embedding)
        self.start = array_of(sasrec.start_token) + self.positions[0]
        self.blocks = [NumpyBlock(block) for block in sasrec.blocks if isinstance(block, Block)]
        self.scale, self.shift = array_of(sasrec.final_norm.weight), array_of(sasrec.final_norm.bias)
        self.epsilon = np.float32(sasrec.final_norm.eps)
        self.longest = sasrec.max_seq_len
        self.future = np.tril(np.full((self.longest + 1, self.longest + 1), -np.inf, np.float32), -1)

    def state(self, history: Indices) -> FloatArray:
        """Compute the state after the last L items [D]."""
        window = history[-self.longest :]
        x = np.empty((len(window) + 1, len(self.start)), np.float32)
        x[0] = self.start
        np.add(self.embedding.take(window, axis=0), self.positions[1 : len(window) + 1], out=x[1:])
        for block in self.blocks[:-1]:
            x = block(x, x, self.future[: len(x), : len(x)])
        state: FloatArray = normalised(self.blocks[-1](x, x[-1:], None), self.epsilon)[0] * self.scale + self.shift
        return state
