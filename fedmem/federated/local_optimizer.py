"""The client's optimiser: torch's own, for one client's parameters or for many clients' at once."""

from collections.abc import Sequence

import torch
from torch import nn

from fedmem.config import TrainingConfig


def local_optimizer(
    parameters: Sequence[nn.Parameter], config: TrainingConfig, *, fused: bool = False
) -> torch.optim.Optimizer:
    """Make SGD or Adam as configured; ``fused`` Adam is silently wrong on gradients that are not contiguous."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, config.learning_rate, config.momentum, weight_decay=config.weight_decay)
    return torch.optim.Adam(
        parameters,
        config.learning_rate,
        (config.beta1, config.beta2),
        config.epsilon,
        config.weight_decay,
        fused=fused,
        foreach=not fused,
    )
