"""What is sent between a trainer and a node, whatever carries it: facts, and arrays by name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Letter:
    """Facts, which are what JSON can hold, and arrays by name."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, Array] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Size of what it holds."""
        return len(json.dumps(self.facts)) + sum(value.nbytes for value in self.arrays.values())

    def to_bytes(self) -> bytes:
        """Write it as safetensors, the facts in the head."""
        whole = {name: np.ascontiguousarray(value) for name, value in self.arrays.items()}
        return save(whole, {"facts": json.dumps(self.facts)})

    @classmethod
    def from_bytes(cls, content: bytes) -> "Letter":
        """Read what ``to_bytes`` wrote; ``ValueError`` if it is something else. Nothing in it is run."""
        try:
            head = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            return cls(facts_of(head["__metadata__"]["facts"]), load(content))
        except (SafetensorError, LookupError, TypeError, RecursionError) as error:
            raise ValueError(f"it is no letter ({type(error).__name__}: {error})") from None


def facts_of(text: str) -> Mapping[str, Any]:
    """Read facts; ``ValueError`` if they are none, or one is no number that JSON has."""
    facts = json.loads(text, parse_constant=_refuse)
    if not isinstance(facts, dict):
        raise ValueError(f"its facts are a {type(facts).__name__}")
    return facts


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}, which is no number")
