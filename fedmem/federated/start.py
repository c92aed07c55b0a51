"""What a run starts from: the model with its drawn weights, the server's state, the first prototypes."""

import os

import numpy as np
import torch

from fedmem.config import ExperimentConfig, FedMemConfig
from fedmem.errors import ConfigError
from fedmem.features.store import ItemFeatures
from fedmem.federated.encodings import check_block
from fedmem.federated.messages import Arrays
from fedmem.federated.parameters import load_parameters, parameter_arrays
from fedmem.federated.server_optimizers import OptimizerState
from fedmem.federated.state import ServerState
from fedmem.federated.transition_release import TransitionRelease, check_release
from fedmem.memory.count_sketch import check_sketch, sketched
from fedmem.memory.prototypes import FrozenItemBlocks, Prototypes, from_catalogue
from fedmem.memory.transitions import TransitionCounts
from fedmem.modality import Modality
from fedmem.model.item_vectors import FrozenFeatures, MaskedVectors
from fedmem.model.recommender import UR4RecV2MoE
from fedmem.randomness import numpy_generator, torch_generator


def frozen_features(features: ItemFeatures) -> FrozenFeatures:
    """Put the item features as the model takes them."""
    return {
        modality: MaskedVectors(torch.from_numpy(one.rows), torch.from_numpy(one.mask))
        for modality, one in features.vectors.items()
    }


def build_model(
    config: ExperimentConfig, num_items: int, features: ItemFeatures, parameters: Arrays | None = None
) -> UR4RecV2MoE:
    """Build the global model with these weights or, by default, its starting ones, drawn from the seed.

    Raises:
        ConfigError: if the configured device is not to be had.
    """
    check_device(config.device)
    model = UR4RecV2MoE(
        config.model,
        num_items,
        frozen_features(features),
        use_retriever=config.uses_retriever,
        use_contrastive=config.uses_contrastive,
    )
    if parameters is None:
        model.initialise(torch_generator(config.seed, "weights"))
    else:
        load_parameters(model, parameters)
    return model.to(config.device)


def check_device(device: str) -> None:
    """Check that the device is available, and make one that is no CPU deterministic.

    Raises:
        ConfigError: if it is not.
    """
    try:
        if torch.empty(1, device=device).device.type != "cpu":
            _same_bits_again()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:80]
        raise ConfigError(f"device = {device!r} cannot be used ({reason}): choose cpu, cuda or cuda:0.") from None


def _same_bits_again() -> None:
    """Let this process compute the same bits whenever it is asked the same, as a CPU does by itself."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # of CUDA's matrix products, which look when they begin
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads it


def item_blocks(features: ItemFeatures) -> FrozenItemBlocks:
    """Gather the frozen vectors that prototypes are made of, by block."""
    used = features.vectors.items()
    return FrozenItemBlocks({block: one.rows for block, one in used}, {block: one.mask for block, one in used})


def initial_state(config: ExperimentConfig, model: UR4RecV2MoE, features: ItemFeatures) -> ServerState:
    """Start the server, with prototypes of the public catalogue."""
    parameters = parameter_arrays(model)
    memory = initial_prototypes(config.fedmem, config.seed, model, features) if config.uses_prototypes else None
    num_items, nothing = len(model.sasrec.item_embedding) - 1, None
    if config.uses_transitions:
        check_sketch(config.transitions, num_items)
        check_release(config, num_items)
        if config.secure_sums.enabled and config.transitions.sketch_bits is None:
            check_block(num_items)
        nothing = sketched(TransitionCounts.none(num_items), config.transitions)
    return ServerState(0, parameters, parameters, OptimizerState.zeros(parameters), memory, nothing, nothing)


def transition_release(config: ExperimentConfig, features: ItemFeatures) -> TransitionRelease | None:
    """Set up the release of the transition memory with noise; None without a budget for it."""
    if not config.releases_transitions:
        return None
    texts = features.vectors.get(Modality.TEXT)
    return TransitionRelease(config, None if texts is None else texts.rows)


def initial_prototypes(config: FedMemConfig, seed: int, model: UR4RecV2MoE, features: ItemFeatures) -> Prototypes:
    """Cluster the catalogue's features by k-means++; the id block is that of the untrained model."""
    catalogue = item_blocks(features)
    with torch.no_grad():
        ids = model.item_table().embedding[1:].float().cpu().numpy()
    blocks = {name: rows[1:] for name, rows in catalogue.vectors.items()} | {Modality.SEQUENTIAL: ids}
    masks = {name: mask[1:] for name, mask in catalogue.masks.items()} | {Modality.SEQUENTIAL: np.ones(len(ids), bool)}
    return from_catalogue(blocks, masks, config.num_memory_prototypes, numpy_generator(seed, "prototypes"))
