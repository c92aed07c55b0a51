"""Segments in rows of tokens: nothing is lost on the way, and attention sees each segment alone."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedmem.model.packing import Packing
from fedmem.model.sasrec import SASRec

# Segment lengths by client: at least one client with at least one segment.
CLIENTS = st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4), min_size=1, max_size=4)
D = 4


def packing_of(clients: list[list[int]]) -> tuple[Packing, np.ndarray]:
    """The packing, and which tokens are real [C, P]."""
    owner = np.repeat(np.arange(len(clients)), [len(lengths) for lengths in clients])
    lengths = np.array([length for client in clients for length in client])
    tokens = np.array([sum(client) for client in clients])
    return Packing(owner, lengths, len(clients)), np.arange(tokens.max()) < tokens[:, None]


@given(clients=CLIENTS, heads=st.sampled_from([1, 2, 4]))
def test_there_and_back_again(clients, heads):
    packing, real = packing_of(clients)
    x = torch.randn(*real.shape, D, dtype=torch.float64)
    there = packing.to_segments(x, heads)
    assert there.shape == (heads * sum(map(len, clients)), max(map(max, clients)), D // heads)
    back = packing.to_rows(there, heads)
    assert torch.equal(back[torch.from_numpy(real)], x[torch.from_numpy(real)])


def by_slices(clients: list[list[int]], rows: torch.Tensor, segments: torch.Tensor, heads: int) -> torch.Tensor:
    """Σ of rows [C, P, D] times segments [S·H, T, D/H] over the real tokens, segment by segment."""
    total, number = torch.zeros((), dtype=rows.dtype), 0
    for client, lengths in enumerate(clients):
        first = 0
        for length in lengths:
            row = rows[client, first : first + length].unflatten(-1, (heads, -1)).transpose(0, 1)  # [H, t, D/H]
            total = total + (row * segments[number : number + heads, :length]).sum()
            first, number = first + length, number + heads
    return total


@given(clients=CLIENTS, heads=st.sampled_from([1, 2]))
def test_moves_and_their_gradients_are_those_of_slices_and_padding_has_none(clients, heads):
    packing, real = packing_of(clients)
    mark = torch.from_numpy(real)[..., None]
    x = torch.randn(*real.shape, D, dtype=torch.float64, requires_grad=True)
    segments = torch.randn_like(packing.to_segments(x, heads)).requires_grad_()
    # Bilinear: each one's gradient is the other, moved.
    for_x, for_segments = torch.autograd.grad(by_slices(clients, x, segments, heads), [x, segments])
    assert torch.equal(packing.to_rows(segments, heads) * mark, for_x)
    (found,) = torch.autograd.grad((packing.to_segments(x, heads) * segments.detach()).sum(), [x])
    assert torch.equal(found, for_x)
    (found,) = torch.autograd.grad((packing.to_rows(segments, heads) * x.detach()).sum(), [segments])
    assert torch.equal(found, for_segments)


@given(clients=CLIENTS, seed=st.integers(0, 9))
def test_packed_segments_have_the_states_they_have_alone(clients, seed):
    generator = torch.Generator().manual_seed(seed)
    model = SASRec(num_items=9, hidden_dim=D, num_blocks=2, num_heads=2, dropout=0.5, max_seq_len=6).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    packing, real = packing_of(clients)
    items = torch.randint(1, 10, real.shape, generator=generator)
    inputs = torch.roll(items, 1, dims=1)  # what stands at a segment's start is START, whatever is here
    states = model.encode_packed(model.item_embedding[inputs], packing)
    for client, lengths in enumerate(clients):
        first = 0
        for length in lengths:
            segment = items[client, first : first + length - 1][None]
            alone = model.encode(model.item_embedding[segment])[0]
            torch.testing.assert_close(states[client, first : first + length], alone)
            first += length
