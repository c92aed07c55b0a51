"""What each part costs as its sizes grow, against the original description's table of complexities.

    python -m benchmarks.complexity [--keep]

For each part and size: CPU seconds of the product's own function at several values, turn by turn, and the slope of
log seconds over log size. A slope of 1 is linear; constant costs (calls, allocation) pull slopes of small sizes down.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.measure import interleaved, keeping_parser, machine, tell
from fedmem.config import FedMemConfig
from fedmem.config_reader import validate_config
from fedmem.features.store import FrozenVectors, ItemFeatures
from fedmem.federated.prototype_aggregation import weighted
from fedmem.federated.start import build_model
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.local_memory import LocalDynamicMemory
from fedmem.memory.prototypes import Prototypes, kmeans
from fedmem.modality import Modality
from fedmem.model.sasrec import SASRec

Side = Callable[[], object]
Make = Callable[..., Side]
TEXT_DIM, REPETITIONS = 384, 9
RNG = np.random.default_rng(0)


def sasrec(L: int = 100, D: int = 64) -> Side:
    """Encode 16 sequences of L items."""
    model = SASRec(100, D, 2, 2, 0.0, L)
    torch.nn.init.normal_(model.item_embedding)
    torch.nn.init.normal_(model.position_embedding)
    items = torch.from_numpy(RNG.integers(1, 101, (16, L)))
    return lambda: model(items)


def retriever(N: int = 2_000, D: int = 64) -> Side:
    """Make the item side of the score of N candidates."""
    texts = FrozenVectors.fitted(list(RNG.standard_normal((N, TEXT_DIM)).astype(np.float32)))
    tree = {"model": {"sasrec_hidden_dim": D, "retriever_output_dim": D}, "ablation": {"disable_moe": False}}
    model = build_model(validate_config(tree, "the benchmark"), N, ItemFeatures(N, {Modality.TEXT: texts}))
    rows = torch.arange(1, N + 1)
    return lambda: model.item_table(rows)


def memory_query(M: int = 2_000, D: int = 64) -> Side:
    """Choose the five nearest of M entries."""
    memory = LocalDynamicMemory.empty(FedMemConfig(memory_capacity=M), D)
    number = np.arange(1, M + 1, dtype=np.int32)
    ones = np.ones(M, np.float32)
    memory.restore(MemoryEntries(number, number, np.ones(M, np.int32), ones, _drawn(M, D)))
    state = _drawn(D)
    return lambda: memory.query(state, 5)


def clustering(M: int = 2_000, K: int = 5, D: int = 64, I: int = 8) -> Side:  # noqa: E741
    """Cluster M vectors into K, at most I times over; drawn ones come to no rest before."""
    vectors = _drawn(M, D)
    return lambda: kmeans(vectors, vectors[:K], max_iterations=I)


def aggregation(C: int = 500, K: int = 5, D: int = 64) -> Side:
    """Sum the prototypes of C clients."""
    blocks = (Modality.TEXT, Modality.SEQUENTIAL)
    sent = Prototypes({b: _drawn(C, K, D) for b in blocks}, {b: np.ones((C, K), np.float32) for b in blocks})
    samples, config = np.ones(C), FedMemConfig(prototype_weights="samples")
    return lambda: weighted(sent, samples, config)


def _drawn(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return RNG.standard_normal(shape).astype(np.float32)


# Part, the original's complexity, and the values of each size, the others standing at their defaults.
PARTS: Sequence[tuple[Make, str, Mapping[str, Sequence[int]]]] = (
    (sasrec, "O(L·D²)", {"L": (50, 100, 200, 400), "D": (64, 128, 256, 512)}),
    (retriever, "O(N·D²)", {"N": (1_000, 2_000, 4_000, 8_000), "D": (64, 128, 256, 512)}),
    (memory_query, "O(M·D)", {"M": (1_000, 2_000, 4_000, 8_000), "D": (64, 128, 256, 512)}),
    (
        clustering,
        "O(M·K·I·D)",
        {"M": (1_000, 2_000, 4_000, 8_000), "K": (5, 10, 20, 40), "I": (2, 4, 8, 16), "D": (64, 128, 256, 512)},
    ),
    (aggregation, "O(C·K·D)", {"C": (500, 1_000, 2_000, 4_000), "K": (5, 10, 20, 40), "D": (64, 128, 256, 512)}),
)


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Fit log seconds = slope · log size + constant."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


@torch.inference_mode()
def measure_one(make: Make, size: str, values: Sequence[int], repetitions: int = REPETITIONS) -> dict[str, Any]:
    """Return the medians of one size's values and the slope over them, and over the two largest."""
    found = interleaved({str(value): _often(make(**{size: value})) for value in values}, repetitions)
    seconds = [median(found[str(value)]) for value in values]
    last = slope(values[-2:], seconds[-2:])
    return {"values": list(values), "seconds": seconds, "slope": slope(values, seconds), "slope_of_largest": last}


def _often(side: Side, times: int = 10) -> Side:
    """Call ten times, so that the clock's grain does not matter."""

    def sides() -> None:
        for _ in range(times):
            side()

    return sides


def measure() -> dict[str, Any]:
    """Measure every part by every size."""
    parts = {
        make.__name__: {"original": claimed, "sizes": {s: measure_one(make, s, values) for s, values in sizes.items()}}
        for make, claimed, sizes in PARTS
    }
    return {"parts": parts, "machine": machine()}


def main() -> None:
    """Measure and print."""
    asked = keeping_parser("complexity", __doc__).parse_args()
    tell("complexity", measure(), asked.keep)


if __name__ == "__main__":
    main()
