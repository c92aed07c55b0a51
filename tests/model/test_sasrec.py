"""SASRec: one causal pass is all windows, padding is nothing, dropout has its own randomness."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fedmem.model.sasrec import CausalSelfAttention, NumpySASRec, SASRec, join_heads, no_dropout, split_heads
from tests.model.builders import CONTEXT, DIM, NUM_ITEMS, normal, seeded_dropout, tiny_contexts, trained_model


@pytest.fixture
def sasrec() -> SASRec:
    return trained_model().sasrec


def test_a_causal_pass_is_all_explicit_windows(sasrec: SASRec) -> None:
    items = tiny_contexts()
    states = sasrec(items)
    assert states.shape == (2, 8, DIM)
    for length in range(items.shape[1] + 1):
        window = sasrec(items[:, :length])[:, -1]
        torch.testing.assert_close(states[:, length], window, rtol=0, atol=1e-12)


def test_padding_at_the_end_changes_nothing(sasrec: SASRec) -> None:
    items = tiny_contexts()[:, :5]
    padded = torch.cat([items, torch.zeros(2, CONTEXT - 5, dtype=torch.long)], dim=1)
    torch.testing.assert_close(sasrec(padded)[:, :6], sasrec(items), rtol=0, atol=1e-12)


def test_what_stands_in_the_padding_changes_no_bit_before_it(sasrec: SASRec) -> None:
    items = tiny_contexts()
    other = items.clone()
    other[:, 4:] = torch.tensor([NUM_ITEMS, 0, 2])
    assert torch.equal(sasrec(items)[:, :5], sasrec(other)[:, :5])
    assert not torch.equal(sasrec(items)[:, 5], sasrec(other)[:, 5])


def test_every_earlier_item_and_its_place_are_seen(sasrec: SASRec) -> None:
    items = tiny_contexts()
    last = sasrec(items)[:, -1]
    for column in range(items.shape[1]):
        other = items.clone()
        other[:, column] = 16
        assert not torch.equal(sasrec(other)[:, -1], last)
    assert not torch.equal(sasrec(items.flip(1))[:, -1], last)


def test_an_empty_history_has_a_state(sasrec: SASRec) -> None:
    state = sasrec(torch.zeros(3, 0, dtype=torch.long))
    assert state.shape == (3, 1, DIM)
    assert torch.isfinite(state).all()
    with torch.no_grad():
        sasrec.start_token += 1 + normal(DIM, seed=8)
    assert not torch.allclose(sasrec(torch.zeros(3, 0, dtype=torch.long)), state)


def test_a_context_as_long_as_the_window_fits_and_a_longer_one_is_an_error(sasrec: SASRec) -> None:
    assert sasrec(torch.ones(1, CONTEXT, dtype=torch.long)).shape == (1, CONTEXT + 1, DIM)
    with pytest.raises(ValueError, match=f"a context of {CONTEXT + 1} items exceeds max_seq_len = {CONTEXT}"):
        sasrec(torch.ones(1, CONTEXT + 1, dtype=torch.long))


def test_segments_of_a_batch_do_not_meet(sasrec: SASRec) -> None:
    items = tiny_contexts()
    torch.testing.assert_close(sasrec(items)[1:], sasrec(items[1:]), rtol=0, atol=1e-12)


def test_attention_is_its_definition() -> None:
    attention = CausalSelfAttention(DIM, heads=2).double()
    x = normal(1, 4, DIM, seed=21)
    q, k, v = (part(x)[0] for part in (attention.query, attention.key, attention.value))
    attended = torch.zeros(4, DIM, dtype=torch.float64)
    for head in (slice(0, 4), slice(4, 8)):
        for t in range(4):
            weights = (k[: t + 1, head] @ q[t, head] / 2.0).softmax(0)  # √(D / H) = 2
            attended[t, head] = weights @ v[: t + 1, head]
    torch.testing.assert_close(attention(x)[0], attention.output(attended))
    assert attention.key.bias is None


def test_heads_split_and_join() -> None:
    x = normal(2, 3, DIM, seed=22)
    heads = split_heads(x, 4)
    assert heads.shape == (2, 4, 3, 2)
    assert torch.equal(heads[:, 1], x[..., 2:4])
    assert torch.equal(join_heads(heads), x)


def test_no_dropout_drops_nothing() -> None:
    x = normal(2, 3, DIM, seed=23)
    assert torch.equal(no_dropout(x, 0.9), x)


def test_training_drops_and_leaves_the_global_random_state(sasrec: SASRec) -> None:
    items, state = tiny_contexts(), torch.random.get_rng_state()
    torch.manual_seed(0)
    first = sasrec(items, seeded_dropout(6))
    torch.manual_seed(1)
    unchanged = torch.random.get_rng_state()
    again = sasrec(items, seeded_dropout(6))
    assert torch.equal(torch.random.get_rng_state(), unchanged)
    assert torch.equal(first, again)
    assert not torch.allclose(first, sasrec(items))
    torch.random.set_rng_state(state)


def test_a_pre_norm_block_by_its_formula(sasrec: SASRec) -> None:
    block, x = sasrec.blocks[0], normal(2, 4, DIM, seed=25)
    attended = x + block.attention(F.layer_norm(x, (DIM,), block.attention_norm.weight, block.attention_norm.bias))
    norm = block.feed_forward_norm
    hidden = F.relu(block.expand(F.layer_norm(attended, (DIM,), norm.weight, norm.bias)))
    torch.testing.assert_close(block(x, no_dropout, 0.0), attended + block.contract(hidden))


def test_the_last_state_alone_is_the_last_of_all(sasrec: SASRec) -> None:
    items = tiny_contexts()
    embedded = sasrec.item_embedding[items]
    states = sasrec.encode(embedded)
    torch.testing.assert_close(sasrec.encode_last(embedded)[:, 0], states[:, -1], rtol=0, atol=1e-12)
    for length in ([0, 7], [3, 5]):
        found = sasrec.encode_last(embedded, torch.tensor(length))[:, 0]
        torch.testing.assert_close(found, states[[0, 1], length], rtol=0, atol=1e-12)


@pytest.mark.parametrize("length", [0, 1, 3, CONTEXT, CONTEXT + 3])
def test_the_numpy_twin_gives_the_last_state(length: int) -> None:
    sasrec = trained_model().float().sasrec
    history = np.arange(length, dtype=np.int32) % NUM_ITEMS + 1
    items = torch.from_numpy(history[-CONTEXT:].astype(np.int64))[None]
    expected = sasrec.encode_last(sasrec.item_embedding[items])[0, 0].detach().numpy()
    twin = NumpySASRec(sasrec, sasrec.item_embedding.detach().numpy())
    np.testing.assert_allclose(twin.state(history), expected, atol=1e-5)
