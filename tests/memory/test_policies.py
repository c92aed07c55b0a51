"""The policies by which memories are written."""

import numpy as np

from fedmem.config import FedMemConfig
from fedmem.memory.memory_arrays import MemoryArrays
from fedmem.memory.policies import MEMORY_POLICIES, StepOutcome

ITEMS = np.array([[5, 6, 7, 5, 8], [1, 2, 3, 0, 0]], np.int32)
CHOSEN = ITEMS > 0
CONFIG = FedMemConfig(memory_capacity=3, surprise_threshold=0.5)


def seen(surprise: float = 0.0) -> StepOutcome:
    return StepOutcome(
        items=ITEMS,
        index=np.tile(np.arange(5, dtype=np.int32), (2, 1)),
        chosen=CHOSEN,
        surprise=np.full(ITEMS.shape, surprise, np.float32),
        id_embedding=np.ones((2, 5, 4), np.float32),
        last_index=CHOSEN.sum(1) - 1,
        generator=lambda client: np.random.default_rng(client),
    )


def written(policy: str, surprise: float = 0.0) -> tuple[tuple[int, int], list[list[int]]]:
    memories = MemoryArrays.empty(2, CONFIG.memory_capacity, 4)
    counts = MEMORY_POLICIES[policy].write(memories, seen(surprise), CONFIG)
    return tuple(int(by_client.sum()) for by_client in counts), [
        memories.entries(client).items.tolist() for client in range(2)
    ]


def test_the_last_items_are_kept_each_once_whatever_their_surprise():
    assert written("last") == ((6, 0), [[7, 5, 8], [1, 2, 3]])


def test_random_items_are_drawn_from_each_clients_own_generator():
    counts, (first, second) = written("random")
    assert counts == (6, 0)
    assert set(first) <= {5, 6, 7, 8}
    assert second == [1, 2, 3]
    assert written("random") == (counts, [first, second])


def test_only_what_surprises_is_written_and_a_full_memory_evicts():
    assert written("surprise", 0.4) == ((0, 0), [[], []])
    counts, (first, second) = written("surprise", 0.6)
    assert counts == (8, 1)
    assert (len(first), second) == (3, [1, 2, 3])
