"""MemoryArrays against the slow twin, client by client and bit by bit."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmem.config import FedMemConfig
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.memory_arrays import MemoryArrays
from tests.reference.memory import SlowMemory

DIM = 3
SURPRISES = [0.0, 0.25, 0.5, 0.75, 1.0, 3.5, np.nan]


@dataclass
class Round:
    """One local step of C clients: positions [C, P] in the order of their writing."""

    items: np.ndarray
    index: np.ndarray
    chosen: np.ndarray
    surprise: np.ndarray
    id_embedding: np.ndarray
    last_index: np.ndarray

    @classmethod
    def drawn(
        cls, histories: list[list[int]], rng: np.random.Generator, surprises: list[float], dtype: type = np.float32
    ) -> "Round":
        """Some positions of every history in any order; what is not chosen is surprising too, and what pads it."""
        shape = len(histories), max(map(len, histories)) + 2
        items, index = np.full(shape, 7, np.int32), np.full(shape, 90, np.int32)
        chosen = np.zeros(shape, bool)
        for client, history in enumerate(histories):
            n = len(history)
            index[client, :n] = rng.permutation(n)
            items[client, :n] = np.array(history)[index[client, :n]]
            chosen[client, :n] = rng.random(n) < rng.choice([0, 0.3, 0.9, 1])
        surprise = rng.choice(surprises, shape).astype(dtype)
        id_embedding = rng.normal(size=(*shape, DIM)).astype(dtype)
        return cls(items, index, chosen, surprise, id_embedding, np.array([len(h) - 1 for h in histories]))

    def one_by_one(self, memories: list[SlowMemory]) -> list[tuple[int, int]]:
        """What the reference does: entries written and evicted, by client."""
        found = []
        for client, memory in enumerate(memories):
            columns = self.items, self.index, self.surprise, self.id_embedding
            chosen = (column[client, self.chosen[client]] for column in columns)
            found.append(memory.update(*chosen, int(self.last_index[client])))
        return found

    def at_once(self, memories: MemoryArrays, config: FedMemConfig) -> list[tuple[int, int]]:
        written, evicted = memories.update(config, **vars(self))
        return list(zip(written.tolist(), evicted.tolist(), strict=True))


def assert_same(found: MemoryEntries, expected: MemoryEntries) -> None:
    for name, column in vars(expected).items():
        assert getattr(found, name).dtype == column.dtype
        np.testing.assert_array_equal(getattr(found, name), column, err_msg=name)


def assert_holds(arrays: MemoryArrays, expected: list[SlowMemory]) -> None:
    assert len(arrays) == len(expected)
    assert arrays.lengths.tolist() == [len(memory) for memory in expected]
    for client, memory in enumerate(expected):
        assert_same(arrays.entries(client), memory.entries())
        for values in vars(arrays).values():
            assert not values[client, len(memory) :].any(), "an unused slot is zero"


histories = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=20), min_size=1, max_size=5)
configs = st.builds(
    FedMemConfig,
    memory_capacity=st.integers(1, 6),
    surprise_threshold=st.sampled_from([0.0, 0.5, 0.6]),
    surprise_quantile=st.sampled_from([None, None, 0.3, 0.75, 1.0]),
    decay_time=st.sampled_from([0.01, 2.0, 50.0]),
    recency_weight=st.sampled_from([0.6, 0.0]),
    frequency_weight=st.sampled_from([0.4, 0.0]),
)


@settings(max_examples=300)
@given(histories, configs, st.integers(0, 2**32), st.sampled_from([np.float32, np.float64]))
def test_all_clients_at_once_are_as_one_after_another(
    histories: list[list[int]], config: FedMemConfig, seed: int, dtype: type
) -> None:
    rng = np.random.default_rng(seed)
    memories = [SlowMemory(config, DIM) for _ in histories]
    arrays = MemoryArrays.empty(len(histories), config.memory_capacity, DIM)
    for _ in range(4):
        drawn = Round.drawn(histories, rng, SURPRISES[: rng.integers(1, len(SURPRISES) + 1)], dtype)
        assert drawn.at_once(arrays, config) == drawn.one_by_one(memories)
        assert_holds(arrays, memories)


@pytest.mark.parametrize("quantile", [None, 0.8])
def test_so_they_are_at_real_sizes(quantile: float | None) -> None:
    config, rng = FedMemConfig(surprise_quantile=quantile), np.random.default_rng(4)
    histories = [rng.integers(1, 400, rng.integers(1, 300)).tolist() for _ in range(16)]
    memories = [SlowMemory(config, DIM) for _ in histories]
    arrays = MemoryArrays.empty(16, config.memory_capacity, DIM)
    evicted = 0
    for _ in range(6):
        drawn = Round.drawn(histories, rng, rng.exponential(0.5, 1000).tolist())
        found = drawn.at_once(arrays, config)
        assert found == drawn.one_by_one(memories)
        evicted += sum(went for _, went in found)
    assert_holds(arrays, memories)
    assert evicted > 300


def one_write(**values: Any) -> Round:
    """One client's one position, item 5 at history index 2."""
    shape = {"items": np.int32(5), "index": np.int32(2), "chosen": True, "surprise": np.float32(1)} | values
    columns = {name: np.full((1, 1), value) for name, value in shape.items()}
    return Round(**columns, id_embedding=np.ones((1, 1, DIM), np.float32), last_index=np.array([2]))


def test_the_gate_stores_at_a_threshold_that_float32_rounds() -> None:
    config, arrays = FedMemConfig(surprise_threshold=0.7), MemoryArrays.empty(1, 2, DIM)
    below = np.nextafter(np.float32(0.7), np.float32(0))
    assert one_write(surprise=below).at_once(arrays, config) == [(0, 0)]
    assert one_write(surprise=np.float32(0.7)).at_once(arrays, config) == [(1, 0)]


def test_no_position_and_no_client_are_fine() -> None:
    nothing = Round(*(values[:, :0] for values in list(vars(one_write()).values())[:5]), last_index=np.array([0]))
    arrays = MemoryArrays.empty(1, 2, DIM)
    assert nothing.at_once(arrays, FedMemConfig()) == [(0, 0)]
    assert arrays.lengths.tolist() == [0]
    nothing = Round(*(values[:0] for values in vars(one_write()).values()))
    assert nothing.at_once(MemoryArrays.empty(0, 2, DIM), FedMemConfig()) == []


def some_entries(n: int, seed: int) -> MemoryEntries:
    """n entries in no order."""
    rng = np.random.default_rng(seed)
    items, index, frequency = (rng.permutation(90)[:n].astype(np.int32) + 1 for _ in range(3))
    return MemoryEntries(
        items, index, frequency, rng.random(n, np.float32), rng.normal(size=(n, DIM)).astype(np.float32)
    )


def restored(entries: MemoryEntries, capacity: int = 6) -> SlowMemory:
    memory = SlowMemory(FedMemConfig(memory_capacity=capacity), DIM)
    memory.restore(entries)
    return memory


def test_given_entries_stand_as_in_a_restored_memory() -> None:
    several = [some_entries(n, seed=n) for n in (0, 6, 1, 4)]
    arrays = MemoryArrays.of(several, 6, DIM)
    assert_holds(arrays, [restored(entries) for entries in several])
    arrays.set_entries(1, several[2])
    arrays.set_entries(0, several[3])
    assert_holds(arrays, [restored(several[which]) for which in (3, 2, 2, 3)])


def test_entries_that_exceed_the_capacity_are_an_error() -> None:
    with pytest.raises(ValueError, match="4 entries exceed memory_capacity = 3"):
        MemoryArrays.of([some_entries(4, seed=0)], 3, DIM)


def test_what_was_taken_does_not_move_with_the_memories() -> None:
    several = [some_entries(n, seed=n) for n in (2, 5, 3)]
    arrays = MemoryArrays.of(several, 6, DIM)
    entries = arrays.entries(0)
    for client in range(3):
        arrays.set_entries(client, some_entries(6, seed=9))
    assert_same(entries, restored(several[0]).entries())
