"""Experts: attention with a null slot against its definition, and a router of the user's state only."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedmem.modality import Modality
from fedmem.model.preference_retriever import (
    NumpyExpert,
    Preference,
    PreferenceExpert,
    TextPreferenceRetrieverMoE,
    with_null_slot,
)
from tests.model.builders import DIM, IMAGE_DIM, ITEM_DIM, TEXT_DIM, generator, normal, seeded_dropout

HEADS = 2
ENTRIES = 5


def make_expert(text_dim: int | None = None) -> PreferenceExpert:
    torch.manual_seed(0)
    return PreferenceExpert(DIM, ITEM_DIM, HEADS, text_dim).double()


def read_by_definition(
    expert: PreferenceExpert,
    h: torch.Tensor,
    vectors: torch.Tensor,
    readable: torch.Tensor,
    preference: Preference | None,
) -> torch.Tensor:
    """Position by position, head by head: softmax over the readable entries and one slot of logit 0 and value 0."""
    query = expert.query(h)
    if preference is not None:
        text = preference.text @ expert.preference_query.weight.T
        query = query + torch.where(preference.readable[..., None], text[:, None], 0.0)
        value = preference.text @ expert.preference_value.weight.T
    keys, values = vectors @ expert.key.weight.T, vectors @ expert.value.weight.T
    width = DIM // HEADS
    read = torch.zeros_like(h)
    for b in range(h.shape[0]):
        for t in range(h.shape[1]):
            for part in (slice(i * width, (i + 1) * width) for i in range(HEADS)):
                mass = torch.ones((), dtype=h.dtype)  # exp 0, the null slot
                total = torch.zeros(width, dtype=h.dtype)
                for m in range(vectors.shape[1]):
                    if readable[b, t, m]:
                        weight = torch.exp(query[b, t, part] @ keys[b, m, part] / width**0.5)
                        mass, total = mass + weight, total + weight * values[b, m, part]
                read[b, t, part] = total / mass
            if preference is not None and preference.readable[b, t]:
                read[b, t] += value[b]
    return read


def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Preference]:
    readable = torch.rand(2, 3, ENTRIES, generator=generator(1)) < 0.6
    readable[0, 0] = False
    preference = Preference(normal(2, TEXT_DIM, seed=4), torch.tensor([[False, True, True], [False, False, True]]))
    return normal(2, 3, DIM, seed=2), normal(2, ENTRIES, ITEM_DIM, seed=3), readable, preference


def test_reading_is_its_definition() -> None:
    h, vectors, readable, preference = scene()
    expert = make_expert(TEXT_DIM)
    for text in (preference, None):
        expected = read_by_definition(expert, h, vectors, readable, text)
        torch.testing.assert_close(expert.read(h, vectors, readable, text), expected, rtol=0, atol=1e-12)


def test_an_expert_without_a_text_query_does_not_see_the_preference() -> None:
    h, vectors, readable, preference = scene()
    expert = make_expert()
    assert torch.equal(expert.read(h, vectors, readable, preference), expert.read(h, vectors, readable, None))


def test_nothing_readable_reads_exactly_nothing_with_a_finite_gradient() -> None:
    h, vectors, _, _ = scene()
    h.requires_grad_()
    read = make_expert(TEXT_DIM).read(h, vectors, torch.zeros(2, 3, ENTRIES, dtype=torch.bool), None)
    assert torch.equal(read, torch.zeros_like(read))
    (gradient,) = torch.autograd.grad(read.sum(), h)
    assert torch.equal(gradient, torch.zeros_like(h))


def test_a_memory_of_no_entries_reads_exactly_nothing() -> None:
    h = normal(2, 3, DIM, seed=2)
    read = make_expert().read(h, torch.zeros(2, 0, ITEM_DIM, dtype=h.dtype), torch.zeros(2, 3, 0, dtype=bool), None)
    assert torch.equal(read, torch.zeros_like(h))


@given(st.permutations(range(ENTRIES)))
def test_the_order_of_entries_is_nothing(order: list[int]) -> None:
    h, vectors, readable, preference = scene()
    expert = make_expert(TEXT_DIM)
    torch.testing.assert_close(
        expert.read(h, vectors[:, order], readable[..., order], preference),
        expert.read(h, vectors, readable, preference),
        rtol=0,
        atol=1e-12,
    )


def test_the_numpy_twin_reads_the_same() -> None:
    h, vectors, readable, preference = (part[:1] if isinstance(part, torch.Tensor) else part for part in scene())
    for expert, text in ((make_expert(TEXT_DIM), True), (make_expert(TEXT_DIM), False), (make_expert(), True)):
        read = expert.read(h, vectors, readable, preference_of_first(preference) if text else None)
        expected = expert.output(read)[0].detach().numpy()
        twin = NumpyExpert(expert.float())
        slots = with_null_slot(vectors)[0].float().numpy()
        for position in range(h.shape[1]):
            present = np.append(readable[0, position].numpy(), True)
            seen = text and bool(preference.readable[0, position])
            given = preference.text[0].float().numpy() if seen else None
            weights = twin.attend(h[0, position].float().numpy(), slots, present, given)
            np.testing.assert_allclose(twin.preference(slots, weights, given), expected[position], atol=1e-5)


def test_a_preference_text_is_read_with_an_empty_memory_too() -> None:
    h, vectors, _, preference = scene()
    expert = make_expert(TEXT_DIM)
    read = expert.read(h, vectors, torch.zeros(2, 3, ENTRIES, dtype=torch.bool), preference)
    value = (preference.text @ expert.preference_value.weight.T)[:, None] * preference.readable[..., None]
    torch.testing.assert_close(read, value)


def preference_of_first(preference: Preference) -> Preference:
    return Preference(preference.text[:1], preference.readable[:1])


def make_retriever(text_dim: int | None, image_dim: int | None, patterns: int = 1) -> TextPreferenceRetrieverMoE:
    torch.manual_seed(0)
    dims = {Modality.TEXT: text_dim, Modality.VISUAL: image_dim}
    used = {modality: dim for modality, dim in dims.items() if dim is not None}
    return TextPreferenceRetrieverMoE(DIM, ITEM_DIM, HEADS, 0.4, used, patterns).double()


@pytest.mark.parametrize(
    ("text_dim", "image_dim", "names"),
    [
        (None, None, ["sequential"]),
        (TEXT_DIM, None, ["sequential", "text"]),
        (None, IMAGE_DIM, ["sequential", "visual"]),
        (TEXT_DIM, IMAGE_DIM, ["sequential", "text", "visual"]),
    ],
)
def test_experts_are_those_of_the_modalities(text_dim: int | None, image_dim: int | None, names: list[str]) -> None:
    retriever = make_retriever(text_dim, image_dim)
    assert [name for name, _ in retriever.by_modality()] == names
    gates = retriever.gates(normal(2, 3, DIM, seed=5))
    assert list(gates) == names
    torch.testing.assert_close(sum(gates.values()), torch.ones(2, 3, 1, dtype=torch.float64))
    assert (retriever.router is None) == (len(names) == 1)
    assert retriever.availability is None


def test_gates_are_the_softmax_of_the_router_in_the_experts_order() -> None:
    retriever, h = make_retriever(TEXT_DIM, IMAGE_DIM), normal(2, 3, DIM, seed=5)
    expected = torch.cat(list(retriever.gates(h).values()), dim=-1)
    torch.testing.assert_close((h @ retriever.router.weight.T + retriever.router.bias).softmax(-1), expected)


def test_imbalance_is_nothing_where_all_experts_weigh_the_same_and_most_where_one_has_all() -> None:
    retriever, h = make_retriever(TEXT_DIM, IMAGE_DIM), normal(2, 3, DIM, seed=5)
    gates = torch.cat(list(retriever.gates(h).values()), dim=-1)
    torch.testing.assert_close(retriever.imbalance(h), gates.var(-1, unbiased=False) / gates.mean(-1) ** 2)
    with torch.no_grad():
        retriever.router.weight.zero_()
        retriever.router.bias.zero_()
        torch.testing.assert_close(retriever.imbalance(h), torch.zeros(2, 3).double())
        retriever.router.bias[1] = 50
        torch.testing.assert_close(retriever.imbalance(h), torch.full((2, 3), 2.0).double())


def test_preferences_are_gated_outputs_of_what_was_read() -> None:
    retriever, h = make_retriever(TEXT_DIM, IMAGE_DIM), normal(2, 3, DIM, seed=5)
    read = {name: normal(2, 3, DIM, seed=6 + i) for i, name in enumerate(retriever.experts)}
    gates, found = retriever.gates(h), retriever.preferences(h, read)
    for name, expert in retriever.by_modality():
        torch.testing.assert_close(found[name], gates[name] * (read[name] @ expert.output.weight.T))
    assert [found[name].shape[-1] for name in ("sequential", "text", "visual")] == [DIM, ITEM_DIM, ITEM_DIM]


def test_dropout_falls_on_what_was_read() -> None:
    retriever, h = make_retriever(None, None), normal(2, 3, DIM, seed=5)
    read = normal(2, 3, DIM, seed=6)
    dropped = seeded_dropout(1)(read, 0.4)
    found = retriever.preferences(h, {"sequential": read}, seeded_dropout(1))["sequential"]
    torch.testing.assert_close(found, dropped @ retriever.experts["sequential"].output.weight.T)
    assert not torch.allclose(found, retriever.preferences(h, {"sequential": read})["sequential"])


def test_one_pattern_of_modalities_needs_no_bias() -> None:
    assert make_retriever(TEXT_DIM, None, patterns=1).availability is None
    assert make_retriever(TEXT_DIM, IMAGE_DIM, patterns=4).availability.out_features == 3
