"""Between a torch model and the named arrays that messages carry."""

import copy
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedmem.federated.messages import Arrays

Model = TypeVar("Model", bound=nn.Module)


def parameter_arrays(model: nn.Module) -> dict[str, npt.NDArray[np.floating]]:
    """Copies of all trainable parameters by name."""
    return {name: p.detach().cpu().numpy().copy() for name, p in model.named_parameters()}


@torch.no_grad()
def load_parameters(model: nn.Module, parameters: Arrays) -> None:
    """Overwrite the model's parameters in place; the names must be exactly the model's."""
    own = dict(model.named_parameters())
    assert own.keys() == parameters.keys(), "the broadcast does not fit the model"
    for name, value in parameters.items():
        own[name].copy_(torch.from_numpy(np.asarray(value)))


def set_parameter(model: nn.Module, name: str, value: torch.Tensor) -> nn.Parameter:
    """Put another tensor, of any shape, in the place of a parameter; returns it as one."""
    owner, _, leaf = name.rpartition(".")
    parameter = nn.Parameter(value)
    model.get_submodule(owner).register_parameter(leaf, parameter)
    return parameter


def twin(model: Model) -> Model:
    """Another model with parameters of its own and the same frozen buffers."""
    return copy.deepcopy(model, {id(buffer): buffer for buffer in model.buffers()})
