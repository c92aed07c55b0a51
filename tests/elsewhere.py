"""A device that this machine lacks, pretended: it holds what was moved there, and mixes with nothing else."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

TAKES_BOTH = ("copy_",)
READS_MEMORY = ("numpy", "__array__")


class Elsewhere(TorchFunctionMode):
    """Refuses what a GPU refuses: an operation on tensors of both places, and numpy's look at one that is there.

    Args:
        model: lives there.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._there: dict[int, torch.UntypedStorage] = {}  # by address, which is another's only when one is gone
        self._note([*model.parameters(), *model.buffers()])

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and note where its results are."""
        kwargs = kwargs or {}
        given = list(tensors((args, kwargs)))
        there = [self._has(x) for x in given]
        name = getattr(func, "__name__", "")
        if any(there) and name in READS_MEMORY:
            raise TypeError("can't convert a tensor of another device to numpy")
        moved = name == "to" or kwargs.get("device") is not None
        apart = [x for x, found in zip(given, there, strict=True) if x.dim() and x.numel() and not found]
        if any(there) and apart and not moved and name not in TAKES_BOTH:
            raise RuntimeError(f"{name}: expected all tensors to be on the same device")
        found = func(*args, **kwargs)
        if name in ("cpu", "to") and found is args[0]:
            found = found.clone()
        if moved or (any(there) and name != "cpu"):
            self._note(tensors(found))
        return found

    def _has(self, x: Tensor) -> bool:
        return x.untyped_storage().data_ptr() in self._there

    def _note(self, found: Iterable[Tensor]) -> None:
        storages = (x.untyped_storage() for x in found)
        self._there |= {storage.data_ptr(): storage for storage in storages if len(storage)}


class NoDraws(TorchDispatchMode):
    """Refuses operations that draw random numbers: those of a GPU would be others."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation that draws nothing."""
        if torch.Tag.nondeterministic_seeded in func.tags and "attention" not in func.__name__:
            raise RuntimeError(f"{func.__name__} draws random numbers")
        return func(*args, **(kwargs or {}))


def tensors(tree: Any) -> Iterator[Tensor]:
    """List the tensors among arguments, or among results."""
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
