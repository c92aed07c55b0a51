"""UR4RecV2MoE: SASRec where nothing is added, one inner product, and a causal reading of the memory."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fedmem.modality import Modality
from fedmem.model.item_vectors import MaskedVectors
from fedmem.model.losses import info_nce
from fedmem.model.preference_retriever import RetrievedMemory
from fedmem.model.recommender import Reader, UR4RecV2MoE
from tests.model.builders import (
    DIM,
    FUSIONS,
    ITEM_DIM,
    NEITHER,
    NO_IMAGE,
    NO_TEXT,
    NUM_ITEMS,
    TEXT_DIM,
    normal,
    random_histories,
    seeded_dropout,
    tiny_contexts,
    tiny_features,
    tiny_memory,
    tiny_prototypes,
    tiny_reader,
    trained_model,
    untrained_model,
)

EXPERTS = ("sequential", "text", "visual")
NO_FEATURES: dict[Modality, MaskedVectors] = {}


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def reads(model: UR4RecV2MoE, reader: Reader) -> dict[str, Tensor]:
    table = model.item_table()
    return model.read_memory(model.states(table, tiny_contexts()), table, reader)


def queries(model: UR4RecV2MoE, reader: Reader) -> Tensor:
    table = model.item_table()
    h = model.states(table, tiny_contexts())
    return model.queries(h, model.read_memory(h, table, reader))


def plain_sasrec(model: UR4RecV2MoE, items: Tensor) -> Tensor:
    return model.sasrec(items) @ model.sasrec.item_embedding.T


def sasrec_with_text(model: UR4RecV2MoE, items: Tensor) -> Tensor:
    embedding = model.sasrec.item_embedding + model.features[Modality.TEXT].vectors @ model.text_embedding.weight.T
    return model.sasrec.encode(embedding[items]) @ embedding.T


# SASRec inside


@pytest.mark.parametrize("use_retriever", [False, True])
@pytest.mark.parametrize("memory", [None, tiny_memory(tiny_prototypes())])
def test_retriever_or_memory_and_features_off_is_sasrec_bit_for_bit(
    use_retriever: bool, memory: RetrievedMemory | None
) -> None:
    model = trained_model(features=NO_FEATURES, use_retriever=use_retriever)
    scores = model(tiny_contexts(), tiny_reader(memory))
    if use_retriever and memory is not None:
        assert not torch.allclose(scores, plain_sasrec(model, tiny_contexts()))
    else:
        assert torch.equal(scores, plain_sasrec(model, tiny_contexts()))


def test_retriever_off_is_sasrec_bit_for_bit_in_float32_too() -> None:
    model = trained_model(features=NO_FEATURES, use_retriever=False).float()
    assert torch.equal(model(tiny_contexts(), tiny_reader()), plain_sasrec(model, tiny_contexts()))


def test_retriever_off_with_text_is_sasrec_with_its_text_embedding() -> None:
    model = trained_model(use_retriever=False)
    close(model(tiny_contexts(), tiny_reader(tiny_memory())), sasrec_with_text(model, tiny_contexts()))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_everything_on_and_untrained_ranks_as_sasrec(fusion: str) -> None:
    model = untrained_model(fusion)
    memory = replace(tiny_memory(tiny_prototypes()), items=tiny_memory().items[:1], index=torch.arange(5)[None])
    memory = replace(memory, id_embedding=memory.id_embedding[:1])
    for items in random_histories(40, seed=6):
        target = torch.arange(items.shape[1] + 1)[None]
        reader = Reader(memory, target, normal(1, TEXT_DIM, seed=7), torch.zeros(1, dtype=torch.long))
        scores, expected = model(items, reader), sasrec_with_text(model, items)
        close(scores, expected)
        assert torch.equal(scores.argsort(-1), expected.argsort(-1))


@pytest.mark.parametrize("expert", EXPERTS)
def test_each_experts_output_matrix_alone_leaves_sasrec(expert: str) -> None:
    model = untrained_model()
    with torch.no_grad():
        model.retriever.experts[expert].output.weight += 0.1
    scores = model(tiny_contexts(), tiny_reader(tiny_memory(tiny_prototypes())))
    assert not torch.allclose(scores, sasrec_with_text(model, tiny_contexts()))


def test_weights_are_drawn_from_the_generator_alone() -> None:
    state = torch.random.get_rng_state()
    first = untrained_model(seed=1)
    torch.random.set_rng_state(state)
    torch.manual_seed(99)
    again, other = untrained_model(seed=1), untrained_model(seed=2)
    torch.random.set_rng_state(state)
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, dict(again.named_parameters())[name]), name
    assert not torch.equal(first.sasrec.position_embedding, other.sasrec.position_embedding)
    assert torch.equal(first.sasrec.item_embedding[0], torch.zeros(DIM, dtype=torch.float64))


# One inner product


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_score_is_the_formula_of_the_method(fusion: str) -> None:
    """a·⟨h, e⟩ + b·(Σ_e g_e·⟨p_e, z_e⟩ + b_a), item by item, from the parts."""
    model, reader = trained_model(fusion), tiny_reader(tiny_memory(tiny_prototypes()))
    table = model.item_table()
    h = model.states(table, tiny_contexts())
    read, gates = model.read_memory(h, table, reader), model.retriever.gates(h)
    z = table.vectors
    retriever = sum(gates[e] * (expert.output(read[e]) @ z[e].T) for e, expert in model.retriever.by_modality())
    bias = torch.cat([h.new_zeros(2, 8, 1), model.retriever.availability(h)], dim=-1)
    a, b = model.fusion(h)
    expected = a * (h @ table.embedding.T) + b * (retriever + bias[..., model.availability])
    close(model(tiny_contexts(), reader), expected, 1e-11)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_forward_is_queries_times_the_item_matrix(fusion: str) -> None:
    model, reader = trained_model(fusion), tiny_reader(tiny_memory(tiny_prototypes()))
    matrix = model.item_table().matrix
    assert matrix.shape == (NUM_ITEMS + 1, DIM + 2 * ITEM_DIM + 3)
    assert torch.equal(model(tiny_contexts(), reader), queries(model, reader) @ matrix.T)


def test_the_item_side_is_blind_to_the_user_and_the_user_side_to_the_candidates() -> None:
    model, reader = trained_model(), tiny_reader(tiny_memory(tiny_prototypes()))
    before = queries(model, reader)
    with torch.no_grad():
        model.sasrec.item_embedding[16] += 1  # in no context and no memory
        model.features[Modality.TEXT].vectors[16] += 1
    assert torch.equal(queries(model, reader), before)
    assert 16 not in tiny_contexts()


def test_some_rows_of_the_item_table_are_those_of_the_whole() -> None:
    model = trained_model()
    full = model.item_table()
    rows = torch.tensor([0, 2, NO_TEXT, NO_IMAGE, NEITHER, 20])
    part = model.item_table(rows)
    close(part.matrix, full.matrix[rows], 1e-14)
    for modality, vectors in part.vectors.items():
        close(vectors, full.vectors[modality][rows], 1e-14)
    wanted = torch.tensor([[20, NO_TEXT], [0, NEITHER]])
    close(part.matrix[part.position(wanted)], full.matrix[full.position(wanted)], 1e-14)


def test_the_sampled_path_gives_the_scores_of_the_full_path() -> None:
    model, reader = trained_model(), tiny_reader(tiny_memory(tiny_prototypes()))
    items, negatives = tiny_contexts(), torch.tensor([[13, 15, 18], [13, 19, 14]])
    targets = torch.cat([items, torch.full((2, 1), 10)], dim=1)  # [B, T]
    table = model.item_table(
        torch.cat([targets.flatten(), negatives.flatten(), reader.memory.items.flatten()]).unique()
    )
    h = model.states(table, items)
    q = model.queries(h, model.read_memory(h, table, reader))
    scores = model(items, reader)
    positive = (q * table.matrix[table.position(targets)]).sum(-1)
    close(positive, scores.gather(-1, targets[..., None])[..., 0])
    negative = q @ table.matrix[table.position(negatives)].transpose(-1, -2)
    close(negative, scores.gather(-1, negatives[:, None].expand(-1, 8, -1)))


def test_one_position_reads_as_it_does_among_all() -> None:
    model, reader = trained_model(), tiny_reader(tiny_memory(tiny_prototypes()))
    table, column = model.item_table(), torch.tensor([6, 2])
    h = model.states(table, tiny_contexts())
    one = h[torch.arange(2), column][:, None]
    found = model.queries(one, model.read_memory(one, table, reader.at(column)))[:, 0]
    close(found, queries(model, reader)[torch.arange(2), column])


def test_items_without_a_modality_have_a_zero_there_and_a_pattern_of_their_own() -> None:
    table = trained_model().item_table()
    text, visual = Modality.TEXT, Modality.VISUAL
    for item, missing in ((NO_TEXT, text), (NO_IMAGE, visual), (NEITHER, text), (NEITHER, visual)):
        assert torch.equal(table.vectors[missing][item], torch.zeros(ITEM_DIM, dtype=torch.float64))
    assert torch.equal(table.embedding[NO_TEXT], trained_model().sasrec.item_embedding[NO_TEXT])
    patterns = trained_model().availability
    assert len({int(patterns[item]) for item in (NO_TEXT, NO_IMAGE, NEITHER, 1)}) == 4
    assert patterns[1] == patterns[2]
    one_hot = table.matrix[:, -3:]
    assert torch.equal(one_hot.sum(-1), (patterns > 0).double())


@pytest.mark.parametrize(("text", "image"), [(False, False), (True, False), (False, True)])
def test_a_modality_that_is_off_takes_no_part(text: bool, image: bool) -> None:
    model = trained_model(features=tiny_features(text=text, image=image))
    prototypes = tiny_prototypes()
    if not text:
        del prototypes[Modality.TEXT]
    if not image:
        del prototypes[Modality.VISUAL]
    scores = model(tiny_contexts(), tiny_reader(tiny_memory(prototypes), preference=text))
    assert scores.shape == (2, 8, NUM_ITEMS + 1)
    assert list(model.retriever.experts) == ["sequential"] + ["text"] * text + ["visual"] * image


def test_all_items_with_everything_need_no_availability() -> None:
    features = tiny_features()
    everything = {modality: replace(one, mask=one.mask | True) for modality, one in features.items()}
    model = untrained_model(features=everything)
    assert model.availability is None
    assert model.retriever.availability is None
    assert model(tiny_contexts(), tiny_reader(tiny_memory())).shape[-1] == NUM_ITEMS + 1


# Reading is causal


def changed_entry(entry: int) -> RetrievedMemory:
    memory = tiny_memory(tiny_prototypes())
    items, embedding = memory.items.clone(), memory.id_embedding.clone()
    items[:, entry] = torch.tensor([16, 18])
    embedding[:, entry] += 1
    return replace(memory, items=items, id_embedding=embedding)


@pytest.mark.parametrize("entry", [0, 1, 2])
def test_an_entry_is_read_by_later_targets_only(entry: int) -> None:
    model, reader = trained_model(), tiny_reader(tiny_memory(tiny_prototypes()))
    before = reads(model, reader) | {"query": queries(model, reader)}
    changed = replace(reader, memory=changed_entry(entry))
    after = reads(model, changed) | {"query": queries(model, changed)}
    readable = reader.memory.index[:, entry, None] < reader.target_index  # [B, T]
    assert readable.any()
    assert not readable.all()
    for name in before:
        assert torch.equal(before[name][~readable], after[name][~readable]), name
        assert ((before[name] != after[name]).any(-1))[readable].all(), name


def test_moving_an_entry_past_the_target_hides_it() -> None:
    model, reader = trained_model(), tiny_reader(tiny_memory())
    index = reader.memory.index.clone()
    index[0, 1] = 5  # it was 2
    moved = queries(model, replace(reader, memory=replace(reader.memory, index=index)))
    changed = (moved != queries(model, reader)).any(-1)
    assert changed[0].tolist() == [False, False, False, True, True, True, False, False]
    assert not changed[1].any()


def test_the_scores_of_a_target_do_not_see_it_in_the_memory() -> None:
    """What the history's own items wrote, read while it is trained on: the shortcut that must not be there."""
    model, items = trained_model(), tiny_contexts()[:1]
    own = RetrievedMemory(items, torch.arange(7)[None], normal(1, 7, DIM, seed=31))
    target = torch.arange(8)[None]
    full = model(items, Reader(own, target))
    for position in range(8):
        past = RetrievedMemory(items[:, :position], own.index[:, :position], own.id_embedding[:, :position])
        close(full[:, position], model(items, Reader(past, target))[:, position])


def shifted(prototypes: dict[Modality, MaskedVectors], by: torch.Tensor) -> dict[Modality, MaskedVectors]:
    return {modality: replace(one, vectors=one.vectors + by) for modality, one in prototypes.items()}


def test_prototypes_are_read_everywhere_unless_they_hold_nothing() -> None:
    model, prototypes = trained_model(), tiny_prototypes()
    before = reads(model, tiny_reader(tiny_memory(prototypes)))
    held = torch.tensor([[1.0], [0.0], [0.0]], dtype=torch.float64)
    moved = shifted(prototypes, held)
    after = reads(model, tiny_reader(tiny_memory(moved)))
    empty = held.flip(0)
    same = shifted(prototypes, empty)
    untouched = reads(model, tiny_reader(tiny_memory(same)))
    for name in EXPERTS:
        assert (before[name] != after[name]).any(-1).all(), name
        assert torch.equal(before[name], untouched[name]), name


@pytest.mark.parametrize(("expert", "lacking"), [("text", (0, 2)), ("visual", (2,))])
def test_an_entry_without_the_modality_is_not_read_by_its_expert(expert: str, lacking: tuple[int, ...]) -> None:
    model, memory = trained_model(), tiny_memory()
    kept = [m for m in range(5) if m not in lacking]
    without = RetrievedMemory(memory.items[:1, kept], memory.index[:1, kept], memory.id_embedding[:1, kept])
    table = model.item_table()
    h = model.states(table, tiny_contexts())[:1]
    whole = replace(memory, items=memory.items[:1], index=memory.index[:1], id_embedding=memory.id_embedding[:1])
    target = torch.arange(8)[None]
    found, expected = (model.read_memory(h, table, Reader(m, target)) for m in (whole, without))
    close(found[expert], expected[expert])
    assert not torch.allclose(found["sequential"], expected["sequential"])


def test_the_preference_text_is_read_from_its_position_on() -> None:
    model, memory = trained_model(), tiny_memory(tiny_prototypes())
    reader = tiny_reader(memory, preference_from=(3, 6))
    other = replace(reader, preference=reader.preference + 1)
    readable = reader.target_index >= torch.tensor([[3], [6]])
    before, after, without = (reads(model, r) for r in (reader, other, tiny_reader(memory, preference=False)))
    assert torch.equal(before["text"][~readable], after["text"][~readable])
    assert (before["text"] != after["text"]).any(-1)[readable].all()
    close(before["text"][~readable], without["text"][~readable])
    for name in ("sequential", "visual"):
        assert torch.equal(before[name], after[name])


# An empty memory

EMPTY = {
    "no entries": RetrievedMemory(
        torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, 0, DIM).double()
    ),
    "padding": replace(tiny_memory(), items=torch.zeros(2, 5, dtype=torch.long)),
    "the future": replace(tiny_memory(), index=torch.full((2, 5), 99)),
}


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_memory_reads_as_exactly_nothing(kind: str, fusion: str) -> None:
    model = trained_model(fusion)
    nothing = queries(model, tiny_reader(None))
    without_text = tiny_reader(EMPTY[kind], preference=False)
    for read in reads(model, without_text).values():
        assert torch.equal(read, torch.zeros_like(read))
    assert torch.equal(queries(model, without_text), nothing)
    assert not torch.allclose(queries(model, tiny_reader(EMPTY[kind])), nothing)


@pytest.mark.parametrize("kind", EMPTY)
def test_emptying_local_memory_and_prototypes_is_the_model_without_memory(kind: str) -> None:
    model, prototypes = trained_model(), tiny_prototypes()
    none = torch.zeros(3, dtype=torch.bool)
    emptied = {modality: replace(one, mask=none) for modality, one in prototypes.items()}
    nothing = model(tiny_contexts(), tiny_reader(None))
    empty = tiny_reader(replace(EMPTY[kind], prototypes=emptied), preference=False)
    assert torch.equal(model(tiny_contexts(), empty), nothing)
    with_prototypes = model(tiny_contexts(), tiny_reader(replace(EMPTY[kind], prototypes=prototypes)))
    assert not torch.allclose(with_prototypes, nothing)


def test_emptying_one_users_memory_leaves_the_other() -> None:
    model, memory = trained_model(), tiny_memory(tiny_prototypes())
    items = memory.items.clone()
    items[1] = 0
    before = queries(model, tiny_reader(memory))
    after = queries(model, tiny_reader(replace(memory, items=items)))
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


# Causal pass, padding


def test_a_causal_pass_is_all_explicit_windows() -> None:
    model, items = trained_model("adaptive"), tiny_contexts()
    reader = tiny_reader(tiny_memory(tiny_prototypes()))
    scores = model(items, reader)
    for length in range(items.shape[1] + 1):
        window = model(items[:, :length], replace(reader, target_index=reader.target_index[:, : length + 1]))
        close(scores[:, length], window[:, -1])


def test_padding_at_the_end_changes_nothing() -> None:
    model, items = trained_model(), tiny_contexts()
    reader = tiny_reader(tiny_memory(tiny_prototypes()))
    short = replace(reader, target_index=reader.target_index[:, :5])
    padded = torch.cat([items[:, :4], torch.zeros(2, 3, dtype=torch.long)], dim=1)
    close(model(padded, reader)[:, :5], model(items[:, :4], short))


def test_a_context_longer_than_the_window_is_an_error() -> None:
    reader = Reader(None, torch.arange(10)[None])
    with pytest.raises(ValueError, match="a context of 9 items exceeds max_seq_len = 8"):
        trained_model()(torch.ones(1, 9, dtype=torch.long), reader)


def test_an_empty_history_is_scored_and_reads_prototypes() -> None:
    model, empty = trained_model(), torch.zeros(1, 0, dtype=torch.long)
    memory = RetrievedMemory(empty, empty, torch.zeros(1, 0, DIM).double(), tiny_prototypes())
    scores = model(empty, Reader(memory, torch.zeros(1, 1, dtype=torch.long)))
    assert scores.shape == (1, 1, NUM_ITEMS + 1)
    assert torch.isfinite(scores).all()
    assert not torch.allclose(scores, model(empty, Reader(None, torch.zeros(1, 1, dtype=torch.long))))


# The contrastive loss


def test_the_contrastive_loss_is_info_nce_of_its_parts() -> None:
    model, reader = trained_model(), tiny_reader(tiny_memory(tiny_prototypes()))
    table, read = model.item_table(), reads(model, reader)
    positives, negatives = torch.cat([tiny_contexts(), tiny_contexts()[:, :1]], 1), torch.tensor([[13, 15], [18, 19]])
    vectors = model.sasrec.item_embedding + table.vectors[Modality.VISUAL] @ model.image_projection.weight.T
    expected = info_nce(read["text"], vectors[positives], vectors[negatives], 0.1)
    close(model.compute_contrastive_loss(read, table, positives, negatives, 0.1), expected)


def test_positions_that_read_nothing_have_no_contrastive_loss_and_a_finite_gradient() -> None:
    model = trained_model()
    table, read = model.item_table(), reads(model, tiny_reader(tiny_memory(), preference=False))
    targets = tiny_contexts()[:, [0, 1, 2, 3, 4, 5, 6, 0]]
    loss = model.compute_contrastive_loss(read, table, targets, torch.tensor([[13, 15], [18, 19]]), 0.1)
    # The first user's first entry with text is that of index 2.
    assert (loss[0] == 0).tolist() == [True] * 3 + [False] * 5
    loss.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
    assert model.retriever.experts["text"].value.weight.grad.abs().max() > 0


def test_the_item_side_of_the_contrastive_loss_holds_no_item_text() -> None:
    model, features = trained_model(), tiny_features()
    turned = replace(features[Modality.TEXT], vectors=features[Modality.TEXT].vectors.flip(1))
    other = model.with_features({**features, Modality.TEXT: turned}, model.availability)
    found, expected = (m.get_item_embeddings(m.item_table(), tiny_contexts()) for m in (other, model))
    assert torch.equal(found, expected)
    assert not torch.allclose(other.item_table().embedding, model.item_table().embedding)


def test_without_texts_there_is_no_contrastive_loss() -> None:
    model = trained_model(features=tiny_features(text=False))
    prototypes = tiny_prototypes()
    del prototypes[Modality.TEXT]
    read = reads(model, tiny_reader(tiny_memory(prototypes), preference=False))
    assert model.get_user_preference_embeddings(read) is None
    assert model.compute_contrastive_loss(read, model.item_table(), tiny_contexts(), tiny_contexts(), 0.1) is None


@pytest.mark.parametrize("options", [{"use_contrastive": False}, {"use_retriever": False}])
def test_item_embeddings_without_a_projection_are_the_trained_rows(options: dict[str, bool]) -> None:
    model = trained_model(**options)
    table = model.item_table()
    assert model.image_projection is None
    rows = model.sasrec.item_embedding[tiny_contexts()]
    assert torch.equal(model.get_item_embeddings(table, tiny_contexts()), rows)


def test_dropout_of_the_whole_model_follows_its_generator() -> None:
    model, reader = trained_model(), tiny_reader(tiny_memory(tiny_prototypes()))
    state = torch.random.get_rng_state()
    first, again = (model(tiny_contexts(), reader, seeded_dropout(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.allclose(first, model(tiny_contexts(), reader))
