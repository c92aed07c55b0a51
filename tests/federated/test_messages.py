"""The two messages, and their size on the wire."""

import numpy as np
import pytest
from safetensors.numpy import save

from fedmem.federated.messages import Broadcast, ClientUpdate, prototype_size, wire_size
from fedmem.memory.prototypes import Prototypes
from fedmem.modality import Modality

ID = Modality.SEQUENTIAL

PARAMETERS = {"a": np.ones((3, 4), np.float32), "b": np.ones(5, np.float32)}


def prototypes(k: int, dim: int = 8) -> Prototypes:
    return Prototypes({ID: np.ones((k, dim), np.float32)}, {ID: np.ones(k, np.float32)})


def test_sizes_are_those_of_the_safetensors_payload():
    memory = prototypes(5)
    expected = {
        "weights": len(save(PARAMETERS)),
        "prototypes": len(save({"id.sum": memory.sums[ID], "id.count": memory.counts[ID]})),
    }
    assert Broadcast(0, PARAMETERS, memory).num_bytes() == expected
    assert ClientUpdate(1, PARAMETERS, memory).num_bytes() == expected


def test_what_is_not_sent_has_no_size():
    assert Broadcast(0, PARAMETERS).num_bytes()["prototypes"] == 0
    assert ClientUpdate(1).num_bytes() == {"weights": 0, "prototypes": 0}


def test_the_size_grows_by_the_numbers_sent():
    """Dense, four bytes a number: nothing about which rows were touched shows in the size."""
    wide = PARAMETERS | {"a": np.zeros((3, 104), np.float32)}
    assert wire_size(wide) - wire_size(PARAMETERS) == pytest.approx(4 * 3 * 100, abs=8)
    assert wire_size({"a": np.zeros((3, 4), np.float32)}) == wire_size({"a": np.ones((3, 4), np.float32)})


def test_fifty_entries_as_five_prototypes_are_ten_times_fewer():
    """The original's claim, on payloads: vectors of 50 entries against those of 5 prototypes."""
    dim = 64
    entries, distilled = np.zeros((50, dim), np.float32), prototypes(5, dim)
    assert len(entries) / len(distilled.mass) == 10
    header = wire_size({"id": np.zeros((0, dim), np.float32)})
    assert (wire_size({"id": entries}) - header) / (distilled.sums[ID].nbytes) == pytest.approx(10, rel=0.01)
    assert prototype_size(distilled) < wire_size({"id": entries}) / 8  # counts and header included
