"""LocalDynamicMemory against a twin that reads like the original's pseudocode, and rule by rule."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmem.config import FedMemConfig
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.local_memory import LocalDynamicMemory
from fedmem.memory.prototypes import FrozenItemBlocks, Prototypes, distil
from fedmem.modality import Modality
from tests.reference.memory import SlowMemory

TEXT, ID = Modality.TEXT, Modality.SEQUENTIAL

DIM = 3
Write = tuple[int, int, float]  # item, history index, surprise


def embedding_of(item: int, index: int, surprise: float) -> list[float]:
    return [float(item), float(index), surprise]


def make_memory(**settings: Any) -> LocalDynamicMemory:
    return LocalDynamicMemory.empty(FedMemConfig(**settings), DIM)


def columns_of(writes: list[Write]) -> tuple[np.ndarray, ...]:
    items, index, surprise = (list(column) for column in zip(*writes, strict=True)) if writes else ([], [], [])
    return (
        np.array(items, np.int32),
        np.array(index, np.int32),
        np.array(surprise, np.float32),
        np.array([embedding_of(*write) for write in writes], np.float32).reshape(-1, DIM),
    )


def update(memory: LocalDynamicMemory, writes: list[Write], last_index: int) -> tuple[int, int]:
    result = memory.update(*columns_of(writes), last_index)
    return result.written, result.evicted


def rows(entries: MemoryEntries) -> list[tuple[Any, ...]]:
    columns = (entries.index, entries.items, entries.frequency, entries.surprise, entries.id_embedding)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@st.composite
def rounds_of_writes(draw: st.DrawFn) -> list[list[Write]]:
    """Several rounds over one history, each writing some of its positions in any order with any surprise."""
    history = draw(st.lists(st.integers(1, 12), min_size=1, max_size=25))
    position = st.integers(0, len(history) - 1)
    surprise = st.sampled_from([0.0, 0.25, 0.4375, 0.5, 0.75, 1.0, 3.5])
    one_round = st.lists(position, unique=True).flatmap(
        lambda at: st.lists(surprise, min_size=len(at), max_size=len(at)).map(
            lambda s: [(history[i], i, value) for i, value in zip(at, s, strict=True)]
        )
    )
    return draw(st.lists(one_round, min_size=1, max_size=5))


@settings(max_examples=300)
@given(
    rounds_of_writes(),
    st.integers(1, 6),
    st.sampled_from([0.01, 2.0, 50.0]),
    st.sampled_from([(0.6, 0.4), (0.1, 0.9), (1.0, 0.0), (0.0, 1.0)]),
)
def test_as_the_pseudocode(
    rounds: list[list[Write]], capacity: int, decay_time: float, alpha_beta: tuple[float, float]
) -> None:
    values = {"memory_capacity": capacity, "decay_time": decay_time, "surprise_threshold": 0.5}
    values |= dict(zip(("recency_weight", "frequency_weight"), alpha_beta, strict=True))
    memory, twin = make_memory(**values), SlowMemory(FedMemConfig(**values), DIM)
    for writes in rounds:
        assert update(memory, writes, 24) == twin.update(*columns_of(writes), 24)
        assert rows(memory.entries()) == rows(twin.entries())
        assert len(memory) == len(twin) <= capacity


@settings(max_examples=300)
@given(rounds_of_writes(), st.integers(1, 4), st.sampled_from([0.01, 2.0, 50.0]))
def test_a_memory_goes_on_after_a_restore_as_if_nothing_had_been(
    rounds: list[list[Write]], capacity: int, decay_time: float
) -> None:
    values = {"memory_capacity": capacity, "decay_time": decay_time}
    memory, resumed = make_memory(**values), make_memory(**values)
    for writes in rounds:
        stored = resumed.entries()
        resumed = make_memory(**values)
        resumed.restore(stored)
        assert update(memory, writes, 24) == update(resumed, writes, 24)
        assert rows(memory.entries()) == rows(resumed.entries())


# Rule by rule


def test_the_gate_stores_at_the_threshold_and_above() -> None:
    memory = make_memory(surprise_threshold=0.5)
    below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    assert update(memory, [(1, 0, below), (2, 1, 0.5), (3, 2, 0.75)], 2) == (2, 0)
    assert memory.entries().items.tolist() == [2, 3]


def test_the_gate_stores_at_a_threshold_that_float32_rounds() -> None:
    memory = make_memory(surprise_threshold=0.7)
    assert update(memory, [(1, 0, 0.7)], 0) == (1, 0)


def test_nan_is_no_surprise() -> None:
    assert update(make_memory(), [(1, 0, math.nan)], 0) == (0, 0)


def test_a_known_item_gains_frequency_keeps_its_largest_surprise_and_is_refreshed() -> None:
    memory = make_memory()
    update(memory, [(7, 4, 2.0)], 4)
    update(memory, [(7, 9, 0.75)], 9)
    assert rows(memory.entries()) == [(9, 7, 2, 2.0, [7.0, 9.0, 0.75])]
    update(memory, [(7, 4, 3.0)], 9)
    assert rows(memory.entries()) == [(9, 7, 3, 3.0, [7.0, 4.0, 3.0])]


def test_an_item_twice_in_one_update_counts_twice() -> None:
    memory = make_memory()
    assert update(memory, [(7, 0, 1.0), (7, 3, 0.5)], 3) == (2, 0)
    assert rows(memory.entries()) == [(3, 7, 2, 1.0, [7.0, 3.0, 0.5])]


def test_full_the_oldest_of_equal_frequency_goes() -> None:
    memory = make_memory(memory_capacity=2)
    assert update(memory, [(1, 5, 1.0), (2, 0, 1.0), (3, 6, 1.0)], 6) == (3, 1)
    assert memory.entries().items.tolist() == [1, 3]
    assert len(memory) == 2


def test_full_a_frequent_old_entry_outlives_a_rare_younger_one() -> None:
    memory = make_memory(memory_capacity=2)
    for _ in range(8):
        update(memory, [(1, 0, 1.0)], 0)
    update(memory, [(2, 1, 1.0), (3, 2, 1.0)], 2)
    assert memory.entries().items.tolist() == [1, 3]


def test_a_frequency_gained_in_the_same_update_counts_at_once() -> None:
    memory = make_memory(memory_capacity=2)
    update(memory, [(1, 0, 1.0), (2, 1, 1.0)], 1)
    assert update(memory, [(1, 0, 1.0), (3, 2, 1.0)], 2) == (2, 1)
    assert memory.entries().items.tolist() == [1, 3]


def test_of_entries_too_old_to_tell_apart_the_oldest_goes() -> None:
    """exp(−Δt/τ) vanishes beside the frequency after some forty τ; what goes must not hang on the slots' order."""
    memory = make_memory(memory_capacity=3)
    update(memory, [(1, 9, 1.0), (2, 7, 1.0), (3, 8, 1.0)], 9)
    update(memory, [(4, 5000, 1.0)], 5000)
    assert memory.entries().items.tolist() == [3, 1, 4]


def test_the_threshold_may_be_a_quantile_of_the_surprises() -> None:
    memory = make_memory(surprise_quantile=0.75, surprise_threshold=0.0)
    surprises = np.array([4.0, 1.0, 3.0, 2.0, 0.0], np.float32)
    assert update(memory, [(i + 1, i, float(s)) for i, s in enumerate(surprises)], 4) == (2, 0)
    assert memory.entries().items.tolist() == [1, 3]


def test_a_quantile_of_nothing_is_the_fixed_threshold() -> None:
    memory = make_memory(surprise_quantile=0.5, surprise_threshold=0.7)
    assert update(memory, [], 0) == (0, 0)


def filled() -> LocalDynamicMemory:
    """Items 10, 20, 30, 40 at history indices 1, 3, 5, 7, written out of order."""
    memory = make_memory()
    update(memory, [(30, 5, 1.0), (10, 1, 3.0), (40, 7, 2.0), (20, 3, 4.0)], 7)
    return memory


def test_entries_stand_oldest_first() -> None:
    assert filled().entries().index.tolist() == [1, 3, 5, 7]
    assert filled().query().items.tolist() == [10, 20, 30, 40]


@pytest.mark.parametrize(("before", "items"), [(0, []), (1, []), (2, [10]), (5, [10, 20]), (8, [10, 20, 30, 40])])
def test_a_query_before_a_position_gives_what_lies_below_it(before: int, items: list[int]) -> None:
    assert filled().query(before=before).items.tolist() == items


def test_a_query_of_k_takes_those_nearest_to_the_state_oldest_first() -> None:
    by_surprise = np.array([0.0, 0.0, 1.0], np.float32)
    assert filled().query(by_surprise, k=2).items.tolist() == [10, 20]
    assert filled().query(-by_surprise, k=2).items.tolist() == [30, 40]
    assert filled().query(by_surprise, k=2, before=2).items.tolist() == [10]
    assert filled().query(by_surprise, k=1, before=6).items.tolist() == [20]
    assert len(filled().query(by_surprise, k=0)) == 0


def test_a_query_of_k_needs_a_state_only_to_choose() -> None:
    assert len(filled().query(k=4)) == 4
    with pytest.raises(ValueError, match="the best 3 of 4 entries needs the user's state"):
        filled().query(k=3)


def test_what_a_query_gave_does_not_move_with_the_memory() -> None:
    memory = filled()
    found = memory.query()
    before = rows(found)
    update(memory, [(10, 8, 9.0), (50, 9, 9.0)], 9)
    assert rows(found) == before


def test_a_memory_starts_empty() -> None:
    entries = make_memory().query()
    assert len(entries) == 0
    assert entries.id_embedding.shape == (0, DIM)


def test_initialised_from_global_it_holds_nothing_of_its_own() -> None:
    memory, prototypes = filled(), Prototypes({ID: np.ones((2, DIM), np.float32)}, {ID: np.ones(2, np.float32)})
    memory.initialize_from_global(prototypes)
    assert memory.global_memory is prototypes
    assert len(memory) == len(memory.query()) == 0
    update(memory, [(10, 0, 1.0)], 0)
    assert rows(memory.entries()) == [(0, 10, 1, 1.0, [10.0, 0.0, 1.0])]


def test_restore_brings_back_every_bit() -> None:
    memory = filled()
    update(memory, [(20, 3, 0.1 + 0.5)], 7)
    restored = make_memory()
    restored.restore(memory.entries())
    for name, column in vars(memory.entries()).items():
        back = getattr(restored.entries(), name)
        assert back.dtype == column.dtype
        assert back.tobytes() == column.tobytes(), name


def test_restore_forgets_what_was_there() -> None:
    memory, fewer = filled(), make_memory()
    update(fewer, [(99, 2, 1.0)], 2)
    memory.restore(fewer.entries())
    assert memory.entries().items.tolist() == [99]
    update(memory, [(10, 3, 1.0)], 3)
    assert memory.entries().frequency.tolist() == [1, 1]


def test_a_memory_that_exceeds_the_capacity_is_an_error() -> None:
    small = make_memory(memory_capacity=3)
    with pytest.raises(ValueError, match="4 entries exceed memory_capacity = 3"):
        small.restore(filled().entries())
    exact = make_memory(memory_capacity=4)
    exact.restore(filled().entries())
    assert len(exact) == 4


def test_last_of_each_item() -> None:
    items, index = np.array([4, 2, 4, 2, 5], np.int32), np.array([0, 1, 2, 3, 4], np.int32)
    ones = np.ones(5, np.float32)
    entries = MemoryEntries(items, index, np.ones(5, np.int32), ones, np.arange(15.0, dtype=np.float32).reshape(5, 3))
    last = entries.last_of_each_item()
    assert dict(zip(last.items.tolist(), last.index.tolist(), strict=True)) == {2: 3, 4: 2, 5: 4}
    np.testing.assert_array_equal(last.id_embedding, entries.id_embedding[last.index])


def test_prototypes_are_distilled_from_the_entries_and_the_features_of_their_items() -> None:
    rng = np.random.default_rng(0)
    text = rng.normal(size=(51, 4)).astype(np.float32)
    mask = np.ones(51, bool)
    mask[20], text[20] = False, 0
    start = Prototypes(
        {TEXT: text[[10, 40]], ID: np.zeros((2, DIM), np.float32)},
        {TEXT: np.ones(2, np.float32), ID: np.ones(2, np.float32)},
    )
    memory = filled()
    found = memory.extract_prototypes(start, FrozenItemBlocks({TEXT: text}, {TEXT: mask}))
    entries = memory.entries()
    blocks = {TEXT: text[[10, 20, 30, 40]], ID: entries.id_embedding}
    expected = distil(blocks, {TEXT: mask[[10, 20, 30, 40]], ID: np.ones(4, bool)}, start)
    for block in (TEXT, ID):
        np.testing.assert_array_equal(found.sums[block], expected.sums[block])
        np.testing.assert_array_equal(found.counts[block], expected.counts[block])
    assert found.mass.sum() == 4
    assert found.counts[TEXT].sum() == 3


def test_an_empty_memory_distils_into_prototypes_that_hold_nothing() -> None:
    start = Prototypes({ID: np.ones((2, DIM), np.float32)}, {ID: np.ones(2, np.float32)})
    found = make_memory().extract_prototypes(start, FrozenItemBlocks({}, {}))
    assert found.sums[ID].shape == (2, DIM)
    assert not found.sums[ID].any()
    assert not found.mass.any()
