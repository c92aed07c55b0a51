"""SASRec: self-attentive sequential recommendation (Kang and McAuley, ICDM 2018), pre-norm, with a start token.

One causal pass over ``START, item_1 .. item_T`` gives the states of all T + 1 prefixes; the state after START alone
is that of an empty history.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedmem.model.attention import causal_attention
from fedmem.model.layers import LayerNorm, Linear, take
from fedmem.model.packing import Packing

Dropout = Callable[[Tensor, float], Tensor]


def no_dropout(x: Tensor, probability: float) -> Tensor:
    """Evaluation: nothing is dropped."""
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
        """[B, T, D] -> [B, T, D]; padding stands at the end, where causality already hides it."""
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
        """As ``forward``, for one position per row.

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
    """[B, T, D] -> [B, H, T, D / H]."""
    split: Tensor = x.unflatten(-1, (heads, -1))
    return split.transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """[B, H, T, D / H] -> [B, T, D]."""
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
        """[B, T, D] -> [B, T, D]."""
        x = x + drop(self.attention(self.attention_norm(x), packing), probability)
        updated: Tensor = x + drop(self._feed_forward(x), probability)
        return updated

    def at(self, x: Tensor, last: Tensor | None) -> Tensor:
        """As ``forward`` without dropout, at one position per row: ``last`` [B], or the end for None -> [B, 1, D]."""
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
        """States of all prefixes: [B, T, D] embedded items -> [B, T + 1, D], the first after START alone.

        Raises:
            ValueError: if T exceeds ``max_seq_len``.
        """
        return self._transform(self._inputs(embedded), drop)

    def encode_last(self, embedded: Tensor, length: Tensor | None = None) -> Tensor:
        """The state after each whole context, without dropout: [B, T, D] embedded items -> [B, 1, D].

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
        """START and the items with their positions: [B, T, D] -> [B, T + 1, D]."""
        batch, length, _ = embedded.shape
        if length > self.max_seq_len:
            raise ValueError(f"a context of {length} items exceeds max_seq_len = {self.max_seq_len}")
        start = self.start_token.expand(batch, 1, -1)
        return torch.cat([start, embedded], dim=1) + self.position_embedding[: length + 1]

    def encode_packed(self, embedded: Tensor, packing: Packing, drop: Dropout = no_dropout) -> Tensor:
        """States of all tokens of packed segments: [C, P, D] embedded inputs -> [C, P, D].

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
        """States of all prefixes of [B, T] item indices -> [B, T + 1, D]."""
        return self.encode(self.item_embedding[items], drop)
