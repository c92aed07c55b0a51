"""A tiny UR4RecV2MoE with everything in it: texts and images that some items lack, memory, prototypes, preference."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedmem.config import ExperimentConfig
from fedmem.config_reader import validate_config
from fedmem.modality import Modality
from fedmem.model.item_vectors import FrozenFeatures, MaskedVectors
from fedmem.model.preference_retriever import PrototypeVectors, RetrievedMemory
from fedmem.model.recommender import Reader, UR4RecV2MoE
from fedmem.model.sasrec import Dropout

NUM_ITEMS, DIM, ITEM_DIM, TEXT_DIM, IMAGE_DIM, CONTEXT = 20, 8, 6, 7, 5, 8
FUSIONS = ("weighted", "learned", "adaptive")
NO_TEXT, NO_IMAGE, NEITHER = 3, 5, 9

SIZES = {
    "sasrec_hidden_dim": DIM,
    "sasrec_num_heads": 2,
    "retriever_output_dim": ITEM_DIM,
    "moe_num_heads": 2,
    "max_seq_len": CONTEXT,
    "sasrec_weight": 0.4,
    "retriever_weight": 0.6,
}


def tiny_config(model: Mapping[str, Any] | None = None, **sections: Any) -> ExperimentConfig:
    """A configuration of all parts in the tiny sizes; the model's section and others may say more."""
    parts = {"model": SIZES | dict(model or {}), "ablation": {"disable_moe": False}}
    return validate_config(parts | sections, "the test")


def generator(seed: int) -> torch.Generator:
    """A torch generator of its own."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def seeded_dropout(seed: int) -> Dropout:
    """Inverted dropout on everything, padding included, from a generator of its own."""
    source = generator(seed)

    def drop(x: Tensor, probability: float) -> Tensor:
        return x * (torch.rand(x.shape, generator=source) >= probability) / (1 - probability)

    return drop


def tiny_features(*, text: bool = True, image: bool = True) -> FrozenFeatures:
    """Features where one item lacks text, one an image, and one both; what is missing is zero."""
    text_mask, image_mask = torch.ones(2, NUM_ITEMS + 1, dtype=torch.bool)
    text_mask[[0, NO_TEXT, NEITHER]] = False
    image_mask[[0, NO_IMAGE, NEITHER]] = False
    drawn = {
        Modality.TEXT: MaskedVectors(normal(NUM_ITEMS + 1, TEXT_DIM, seed=1) * text_mask[:, None], text_mask),
        Modality.VISUAL: MaskedVectors(normal(NUM_ITEMS + 1, IMAGE_DIM, seed=2) * image_mask[:, None], image_mask),
    }
    used = {Modality.TEXT: text, Modality.VISUAL: image}
    return {modality: vectors for modality, vectors in drawn.items() if used[modality]}


def untrained_model(
    fusion: str = "weighted",
    features: FrozenFeatures | None = None,
    *,
    use_retriever: bool = True,
    use_contrastive: bool = True,
    seed: int = 0,
) -> UR4RecV2MoE:
    """A float64 model as a run starts with it; features are the tiny ones unless given."""
    model = UR4RecV2MoE(
        tiny_config({"fusion_method": fusion}).model,
        NUM_ITEMS,
        tiny_features() if features is None else features,
        use_retriever=use_retriever,
        use_contrastive=use_contrastive,
    )
    return model.initialise(generator(seed)).double()


@torch.no_grad()
def stirred(model: UR4RecV2MoE, seed: int = 5) -> UR4RecV2MoE:
    """The model with noise on every parameter but the padding row, as if trained: nothing is zero by its start."""
    source = generator(seed)
    for parameter in model.parameters():
        parameter += 0.3 * torch.randn(parameter.shape, generator=source, dtype=parameter.dtype)
    model.sasrec.item_embedding[0] = 0
    return model


def trained_model(fusion: str = "weighted", features: FrozenFeatures | None = None, **options: Any) -> UR4RecV2MoE:
    """A float64 model in which every part takes part in the score."""
    return stirred(untrained_model(fusion, features, **options))


def tiny_prototypes(k: int = 3) -> dict[Modality, MaskedVectors]:
    """Prototypes of which the last holds nothing, and the last but one has no image."""
    held = torch.arange(k) < k - 1
    with_image = torch.arange(k) < k - 2
    return {
        Modality.TEXT: MaskedVectors(normal(k, TEXT_DIM, seed=11) * held[:, None], held),
        Modality.VISUAL: MaskedVectors(normal(k, IMAGE_DIM, seed=12) * with_image[:, None], with_image),
        Modality.SEQUENTIAL: MaskedVectors(normal(k, DIM, seed=13) * held[:, None], held),
    }


def tiny_memory(prototypes: PrototypeVectors | None = None) -> RetrievedMemory:
    """Entries of two users, one of five and one of three; some lack a modality."""
    items = torch.tensor([[NO_TEXT, 1, NEITHER, 7, 2], [4, NO_IMAGE, 11, 0, 0]])
    index = torch.tensor([[0, 2, 3, 5, 6], [1, 2, 8, 0, 0]])
    return RetrievedMemory(items, index, normal(2, 5, DIM, seed=14) * (items > 0)[..., None], prototypes)


def tiny_contexts() -> Tensor:
    """Two contexts [2, 7]."""
    return torch.tensor([[NO_TEXT, 1, 8, NEITHER, 12, 7, 2], [6, 4, NO_IMAGE, 17, 20, 1, 1]])


def tiny_reader(
    memory: RetrievedMemory | None = None, *, preference: bool = True, preference_from: tuple[int, int] = (3, 0)
) -> Reader:
    """A reader of both users at all eight positions; the second's segment starts at history index 2."""
    target = torch.arange(tiny_contexts().shape[1] + 1) + torch.tensor([[0], [2]])
    if not preference:
        return Reader(memory, target)
    return Reader(memory, target, normal(2, TEXT_DIM, seed=15), torch.tensor(preference_from))


def random_histories(count: int, seed: int) -> list[Tensor]:
    """Histories of 0..L items."""
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.integers(1, NUM_ITEMS + 1, size=(1, rng.integers(CONTEXT + 1)))) for _ in range(count)]
