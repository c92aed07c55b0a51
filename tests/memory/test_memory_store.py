"""MemoryStore against dictionaries: rounds, abandoned rounds, several processes, and what a disk may do."""

import errno
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.errors import CheckpointError
from fedmem.memory import memory_store
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.memory_arrays import MemoryArrays
from fedmem.memory.memory_store import MemoryStore

USERS, CAPACITY, DIM = 7, 4, 3
ALL_USERS = np.arange(USERS)
NOTHING = MemoryArrays.empty(1, CAPACITY, DIM).entries(0)


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    return MemoryStore(tmp_path / "memories", USERS, CAPACITY, DIM)


def entries(n: int, seed: int) -> MemoryEntries:
    """n entries, oldest first."""
    rng = np.random.default_rng(seed)
    items, frequency = (rng.permutation(90)[:n].astype(np.int32) + 1 for _ in range(2))
    embedding = rng.normal(size=(n, DIM)).astype(np.float32)
    return MemoryEntries(items, np.arange(n, dtype=np.int32), frequency, rng.random(n, np.float32), embedding)


def write(store: MemoryStore, memories: dict[int, MemoryEntries], round_number: int) -> None:
    arrays = MemoryArrays.of(list(memories.values()), CAPACITY, DIM)
    store.write(np.array(list(memories), np.int64), arrays, handed_on_by(arrays), round_number)


def handed_on_by(arrays: MemoryArrays) -> np.ndarray:
    """Some number for each client that differs with its memory."""
    return 3 * arrays.lengths


def assert_holds(store: MemoryStore, model: dict[int, MemoryEntries], round_number: int) -> None:
    found = store.read(ALL_USERS, round_number)
    handed_on = [3 * len(model.get(user, NOTHING)) for user in range(USERS)]
    assert store.handed_on(ALL_USERS, round_number).tolist() == handed_on
    assert store.all_handed_on(round_number).tolist() == handed_on
    for user in range(USERS):
        for name, column in vars(model.get(user, NOTHING)).items():
            np.testing.assert_array_equal(getattr(found.entries(user), name), column, err_msg=f"{name} of {user}")
    assert store.occupied(ALL_USERS, round_number).tolist() == [u for u in range(USERS) if len(model.get(u, NOTHING))]


# The users of each attempt at each round: the last attempt counts, and takes in all users of those before.
attempts = st.lists(st.lists(st.sets(st.integers(0, USERS - 1)), min_size=1, max_size=3), max_size=6)


@given(attempts, st.integers(0, 2**32))
def test_a_dictionary_of_rounds(tmp_path_factory: pytest.TempPathFactory, attempts: list, seed: int) -> None:
    rng = np.random.default_rng(seed)
    store = MemoryStore(tmp_path_factory.mktemp("store") / "memories", USERS, CAPACITY, DIM)
    committed: dict[int, MemoryEntries] = {}
    for completed, several in enumerate(attempts):
        users_of_the_round = set().union(*several)
        for users in [*several, users_of_the_round]:
            attempt = {u: entries(int(rng.integers(0, CAPACITY + 1)), int(rng.integers(2**32))) for u in users}
            write(store, attempt, completed + 1)
            assert_holds(store, committed, completed)
        committed = committed | attempt
        assert_holds(store, committed, completed + 1)
        assert_holds(store, committed, 1000)


def test_nothing_was_ever_written(store: MemoryStore) -> None:
    assert_holds(store, {}, 0)
    assert_holds(store, {}, 9)


def test_users_stand_in_the_order_asked_for(store: MemoryStore) -> None:
    memories = {5: entries(2, seed=5), 1: entries(4, seed=1)}
    write(store, memories, 3)
    found = store.read(np.array([1, 0, 5]), 3)
    assert found.lengths.tolist() == [4, 0, 2]
    assert found.entries(2).items.tolist() == memories[5].items.tolist()
    assert store.occupied(np.array([6, 5, 0, 1]), 3).tolist() == [5, 1]
    found.set_entries(0, NOTHING)  # what was read can be written
    store.write(np.array([1, 0, 5]), found, handed_on_by(found), 4)
    assert store.occupied(ALL_USERS, 4).tolist() == [5]


def test_rounds_that_come_after_the_one_written_are_forgotten(store: MemoryStore) -> None:
    first, again = {0: entries(1, seed=0)}, {0: entries(2, seed=1)}
    write(store, first, 5)
    write(store, first, 6)
    write(store, again, 3)
    assert_holds(store, {}, 2)
    assert_holds(store, again, 3)
    assert_holds(store, again, 6)


def test_a_user_who_is_not_there_is_an_error(store: MemoryStore) -> None:
    for user in (-1, USERS):
        with pytest.raises(AssertionError, match=f"user {user} of {USERS}"):
            store.read(np.array([user]), 1)
        with pytest.raises(AssertionError, match=f"user {user} of {USERS}"):
            write(store, {user: NOTHING}, 1)


def test_the_first_round_is_round_one(store: MemoryStore) -> None:
    with pytest.raises(AssertionError, match="round 0"):
        write(store, {0: NOTHING}, 0)


def test_cleared_it_holds_nothing_and_can_be_written(store: MemoryStore) -> None:
    write(store, {3: entries(4, seed=0)}, 1)
    store.clear()
    assert_holds(store, {}, 1)
    with pytest.raises(CheckpointError):
        MemoryStore(store.path, USERS + 1, CAPACITY, DIM)
    memories = {2: entries(3, seed=1)}
    write(store, memories, 1)
    assert_holds(MemoryStore(store.path, USERS, CAPACITY, DIM), memories, 1)


def some_of(arrays: MemoryArrays, clients: np.ndarray) -> MemoryArrays:
    return MemoryArrays(*(values[clients] for values in vars(arrays).values()))


def test_processes_write_users_of_their_own(store: MemoryStore) -> None:
    memories = {user: entries(1 + user % CAPACITY, seed=user) for user in range(USERS)}
    arrays = MemoryArrays.of(list(memories.values()), CAPACITY, DIM)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        shares = [ALL_USERS[::2], ALL_USERS[1::2]]
        written = [
            pool.submit(store.write, share, some_of(arrays, share), handed_on_by(some_of(arrays, share)), 1)
            for share in shares
        ]
        assert [done.result() for done in written] == [None, None]
        assert_holds(store, memories, 1)
        write(store, {0: entries(2, seed=9)}, 2)
        assert pool.submit(store.read, ALL_USERS[:1], 2).result().lengths.tolist() == [2]


def test_a_million_users_take_no_room(tmp_path: Path) -> None:
    store = MemoryStore(tmp_path / "memories", 1_000_000, 50, 64)
    last = np.array([999_999])
    arrays = MemoryArrays.empty(1, 50, 64)
    arrays.items[0, :50] = 1
    store.write(last, arrays, handed_on_by(arrays), 1)
    assert store.occupied(np.arange(1_000_000), 1).tolist() == [999_999]
    assert store.path.stat().st_blocks * 512 < 200_000


def test_headers_are_looked_through_in_blocks(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    memories = {user: entries(1, seed=user) for user in (0, 2, 3, 6)}
    write(store, memories, 1)
    for block in (1, 2, 3, 7):
        monkeypatch.setattr(memory_store, "BLOCK", block)
        assert_holds(store, memories, 1)


def test_a_disk_may_read_and_write_in_pieces(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    pread, pwrite = os.pread, os.pwrite
    monkeypatch.setattr(os, "pread", lambda file, size, place: pread(file, min(size, 7), place))
    monkeypatch.setattr(os, "pwrite", lambda file, data, place: pwrite(file, bytes(data)[:5], place))
    memories = {user: entries(user % 5, seed=user) for user in range(USERS)}
    write(store, memories, 1)
    assert_holds(store, memories, 1)


def test_a_full_disk_is_one_clear_error(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    memories = {0: entries(1, seed=0)}
    write(store, memories, 1)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(CheckpointError, match=r"memories: .*No space left on device.*Make room"):
            write(store, {0: entries(2, seed=1)}, 2)
    assert_holds(store, memories, 2)


def test_a_place_that_cannot_be_opened_is_one_clear_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere" / "memories"):
        with pytest.raises(CheckpointError, match=str(path)):
            MemoryStore(path, USERS, CAPACITY, DIM)


@pytest.mark.parametrize("sizes", [(USERS + 1, CAPACITY, DIM), (USERS, 9, DIM), (USERS, CAPACITY, 9)])
def test_memories_of_other_sizes_are_refused(store: MemoryStore, sizes: tuple[int, int, int]) -> None:
    with pytest.raises(CheckpointError, match=f"{sizes[0]} users with {sizes[1]} entries of {sizes[2]} dim"):
        MemoryStore(store.path, *sizes)


def test_another_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("short")
    with pytest.raises(CheckpointError, match="does not hold the memories"):
        MemoryStore(path, USERS, CAPACITY, DIM)
    assert path.read_text() == "short"


def test_closed_or_forgotten_it_holds_no_file(store: MemoryStore) -> None:
    memories = {0: entries(1, seed=0)}
    write(store, memories, 1)
    copy = pickle.loads(pickle.dumps(store))
    for one in (copy, MemoryStore(store.path, USERS, CAPACITY, DIM)):
        assert_holds(one, memories, 1)
    descriptor = copy._file
    copy.close()
    copy.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    with pytest.raises(CheckpointError, match="Bad file descriptor"):
        copy.read(ALL_USERS, 1)
    descriptor = one._file
    del one
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
