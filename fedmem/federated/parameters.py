"""Between a torch model and the arrays that messages carry."""

import copy
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedmem.errors import CheckpointError
from fedmem.federated.messages import Arrays
from fedmem.memory.prototypes import Prototypes
from fedmem.model.item_vectors import MaskedVectors
from fedmem.model.preference_retriever import PrototypeVectors

Model = TypeVar("Model", bound=nn.Module)


def parameter_arrays(model: nn.Module) -> dict[str, npt.NDArray[np.floating]]:
    """Copy all trainable parameters, by name."""
    return {name: p.detach().cpu().numpy().copy() for name, p in model.named_parameters()}


@torch.no_grad()
def load_parameters(model: nn.Module, parameters: Arrays) -> None:
    """Overwrite the model's parameters in place.

    Raises:
        CheckpointError: if these are not exactly the model's, as those of a model that another version has trained.
    """
    own = dict(model.named_parameters())
    if own.keys() != parameters.keys():
        odd = sorted(own.keys() ^ parameters.keys())[0]
        raise CheckpointError(
            f"another version of FedMem trained this model, which has other parts than this one's ({odd}): train it "
            "anew, or use the version that its manifest names."
        )
    for name, value in parameters.items():
        own[name].copy_(torch.from_numpy(np.asarray(value)))


def set_parameter(model: nn.Module, name: str, value: torch.Tensor) -> nn.Parameter:
    """Put another tensor, of any shape, in the place of a parameter; returns it as one."""
    owner, _, leaf = name.rpartition(".")
    parameter = nn.Parameter(value)
    model.get_submodule(owner).register_parameter(leaf, parameter)
    return parameter


def twin(model: Model) -> Model:
    """Copy a model with parameters of its own and the same frozen buffers."""
    return copy.deepcopy(model, {id(buffer): buffer for buffer in model.buffers()})


def prototype_vectors(prototypes: Prototypes | None, like: torch.Tensor) -> PrototypeVectors | None:
    """Put the global abstract memory as the model reads it, in the precision and on the device of ``like``."""
    if prototypes is None:
        return None
    return {
        block: MaskedVectors(
            torch.from_numpy(prototypes.centroids(block)).to(like),
            torch.from_numpy(prototypes.present(block)).to(like.device),
        )
        for block in prototypes.blocks
    }
