"""Every trainable parameter of FedMem-Full takes part in the real objective; the frozen features never move."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedmem.config import ExperimentConfig
from fedmem.federated.local_steps import LocalStep
from fedmem.federated.parameters import prototype_vectors
from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.prototypes import Prototypes, from_catalogue
from fedmem.modality import Modality
from fedmem.model.recommender import UR4RecV2MoE
from tests.model.builders import (
    CONTEXT,
    DIM,
    FUSIONS,
    NUM_ITEMS,
    TEXT_DIM,
    seeded_dropout,
    tiny_config,
    tiny_features,
    untrained_model,
)
from tests.reference.objective import LocalBatch, Reading, collate, local_objective

LOSSES = ("bpr", "sampled_softmax", "full_softmax")
SOURCES = ("memory", "prototypes", "both")


def full_config(fusion: str = "weighted", loss: str = "full_softmax") -> ExperimentConfig:
    return tiny_config({"fusion_method": fusion, "moe_balance": 0.0}, training={"loss": loss})


def entries(rng: np.random.Generator, history: np.ndarray) -> MemoryEntries:
    items, first = np.unique(history, return_index=True)
    n = len(items)
    embedding = rng.normal(0, 0.05, (n, DIM)).astype(np.float32)
    return MemoryEntries(items, first.astype(np.int32), np.ones(n, np.int32), np.ones(n, np.float32), embedding)


def catalogue_prototypes(model: UR4RecV2MoE) -> Prototypes:
    features = model.features
    blocks = {
        Modality.TEXT: features[Modality.TEXT].vectors[1:].float().numpy(),
        Modality.VISUAL: features[Modality.VISUAL].vectors[1:].float().numpy(),
        Modality.SEQUENTIAL: model.item_table().embedding[1:].detach().float().numpy(),
    }
    masks = {modality: one.mask[1:].numpy() for modality, one in features.items()}
    masks[Modality.SEQUENTIAL] = np.ones(NUM_ITEMS, bool)
    return from_catalogue(blocks, masks, 3, np.random.default_rng(0))


def reading(user: int, *, with_memory: bool) -> Reading:
    """A user with one full segment, whose memory holds its items; the second half may read the text."""
    rng = np.random.default_rng(user)
    history = rng.choice(np.arange(1, NUM_ITEMS + 1), CONTEXT + 1, replace=False).astype(np.int32)
    others = np.setdiff1d(np.arange(1, NUM_ITEMS + 1), history).astype(np.int32)
    step = LocalStep(
        items=history[None],
        start=np.zeros(1, np.int32),
        chosen=np.ones((1, CONTEXT + 1), bool),
        negatives=rng.choice(others, 6),
        preference_from=CONTEXT // 2,
    )
    memory = entries(rng, history if with_memory else history[:0])
    return Reading(step, memory, rng.normal(size=TEXT_DIM).astype(np.float32))


def full_batch(model: UR4RecV2MoE, source: str) -> LocalBatch:
    readings = [reading(user, with_memory=source != "prototypes") for user in range(8)]
    like = model.sasrec.item_embedding
    prototypes = None if source == "memory" else catalogue_prototypes(model)
    return collate(readings, prototype_vectors(prototypes, like), like, model.text_dim)


def reached(model: UR4RecV2MoE, batch: LocalBatch, config: ExperimentConfig, steps: int = 3) -> dict[str, torch.Tensor]:
    """Which elements of each parameter got a non-zero gradient in the first SGD steps."""
    seen = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in model.named_parameters()}
    for number in range(steps):
        model.zero_grad()
        losses = local_objective(model, batch, config, seeded_dropout(number))
        (losses.total / batch.chosen.sum()).backward()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None, f"{name} stands outside the objective"
                seen[name] |= parameter.grad != 0
                parameter -= 0.1 * parameter.grad
    return seen


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_element_of_every_parameter_gets_a_gradient(fusion: str, source: str) -> None:
    model, config = untrained_model(fusion), full_config(fusion)
    expected = {"retriever.router.weight", "retriever.availability.bias", "image_projection.weight"}
    assert expected <= dict(model.named_parameters()).keys()
    seen = reached(model, full_batch(model, source), config)
    padding = seen["sasrec.item_embedding"][0].clone()
    seen["sasrec.item_embedding"][0] = True
    assert not padding.any(), "the padding row is trained"
    missing = {name: f"{int((~hit).sum())} of {hit.numel()}" for name, hit in seen.items() if not hit.all()}
    assert not missing, f"elements without a gradient: {missing}"


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_reaches_every_parameter(loss: str) -> None:
    model = untrained_model("adaptive")
    seen = reached(model, full_batch(model, "both"), full_config("adaptive", loss))
    assert [name for name, hit in seen.items() if not hit.any()] == []


def test_without_the_contrastive_loss_every_parameter_is_still_reached() -> None:
    model = untrained_model("learned", use_contrastive=False)
    config = tiny_config({"fusion_method": "learned"}, ablation={"disable_contrastive": True})
    seen = reached(model, full_batch(model, "both"), config)
    assert "image_projection.weight" not in seen
    assert [name for name, hit in seen.items() if not hit.any()] == []


def test_the_first_step_moves_the_output_matrices_that_start_at_zero() -> None:
    model = untrained_model()
    seen = reached(model, full_batch(model, "both"), full_config(), steps=1)
    for name in ("sequential", "text", "visual"):
        assert seen[f"retriever.experts.{name}.output.weight"].all()
    assert not seen["retriever.router.weight"].any()  # it is the second step that reaches what stands before them


@pytest.mark.parametrize("loss", LOSSES)
def test_frozen_features_never_move(loss: str) -> None:
    model, before = untrained_model(), tiny_features()
    frozen = {id(buffer) for buffer in model.buffers()}
    assert not frozen & {id(parameter) for parameter in model.parameters()}
    reached(model, full_batch(model, "both"), full_config(loss=loss))
    scores = evaluate(model)
    for modality, now in model.features.items():
        assert not now.vectors.requires_grad
        assert torch.equal(now.vectors, before[modality].vectors), f"{modality} moved"
        assert torch.equal(now.mask, before[modality].mask), f"{modality} moved"
    assert np.isfinite(scores).all()


def evaluate(model: UR4RecV2MoE) -> np.ndarray:
    scorer = ModelScorer(model, catalogue_prototypes(model))
    read = reading(3, with_memory=True)
    contexts = [UserContext(read.memory, read.preference), UserContext()]
    return scorer.score(contexts, [read.step.items[0], read.step.items[0, :0]])


def test_evaluation_moves_nothing_at_all() -> None:
    model = untrained_model()
    before = {name: value.clone() for name, value in [*model.named_parameters(), *model.named_buffers()]}
    state = torch.random.get_rng_state()
    assert np.array_equal(evaluate(model), evaluate(model))
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        assert torch.equal(value, before[name]), name
        assert value.grad is None


def test_the_memory_that_is_read_is_not_written_by_training() -> None:
    model = untrained_model()
    batch = full_batch(model, "both")
    memory = batch.reader.memory
    before = memory.id_embedding.clone(), memory.prototypes[Modality.TEXT].vectors.clone()
    reached(model, batch, full_config())
    assert torch.equal(memory.id_embedding, before[0])
    assert torch.equal(memory.prototypes[Modality.TEXT].vectors, before[1])
    assert not memory.id_embedding.requires_grad


def test_a_position_that_does_not_count_moves_nothing() -> None:
    model, config = untrained_model(), full_config()
    batch = full_batch(model, "both")
    nothing = replace(batch, chosen=torch.zeros_like(batch.chosen))
    losses = local_objective(model, nothing, config, seeded_dropout(0))
    assert float(losses.total.detach()) == 0
    losses.total.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
