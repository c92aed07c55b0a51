"""All clients' memories on disk, in place of the devices' own. A chunk reads and writes its own clients'.

One file, little-endian and sparse: what was never written is a hole, which reads as zeros and takes no room. ::

    preamble    magic, number of users U, capacity M, size D
    headers     by user: round [2], length [2] and interactions handed on [2] of its two versions
    versions    by user: version 0, version 1, each of M entries (item, index, frequency, surprise, id embedding [D])

A version counts from its round on; one of round 0 was never written. A round writes the version that the round before
does not need, so that an abandoned round is never seen, and is overwritten when it is trained again.
"""

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.errors import CheckpointError, disk_error
from fedmem.memory.memory_arrays import MemoryArrays

Users = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]

MAGIC = b"FEDMEM-2"
PREAMBLE = np.dtype([("magic", "S8"), ("users", "<i8"), ("capacity", "<i8"), ("dim", "<i8")])
HEADER = np.dtype([(name, "<i4", (2,)) for name in ("round", "length", "handed_on")])
BLOCK = 1 << 16  # headers that are read at once when all are looked through


class MemoryStore:
    """The memories of U users in one file, which several processes may open, each for users of its own.

    Args:
        path: the file, which is made where there is none.
        num_users: U.
        capacity: most entries M of a memory.
        dim: size D of the id embeddings.

    Raises:
        CheckpointError: if the file cannot be had, or holds something else; later, if the disk is full.
    """

    def __init__(self, path: Path, num_users: int, capacity: int, dim: int) -> None:
        self.path, self.num_users, self.capacity, self.dim = path, num_users, capacity, dim
        numbers = [(name, "<i4") for name in ("items", "index", "frequency")]
        self._entry = np.dtype([*numbers, ("surprise", "<f4"), ("id_embedding", "<f4", (dim,))])
        with self._disk():
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            self._close = weakref.finalize(self, os.close, self._file)
            self._check()

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryStore, (self.path, self.num_users, self.capacity, self.dim)

    def close(self) -> None:
        """Close the file; the store cannot be used after that."""
        self._close()
        self._file = -1

    def clear(self) -> None:
        """Forget every memory."""
        with self._disk():
            os.ftruncate(self._file, 0)
            self._check()

    def read(self, users: Users, round_number: int) -> MemoryArrays:
        """Read the memories of users [C] as they stood after a number of completed rounds."""
        entries = np.zeros((len(users), self.capacity), self._entry)
        with self._disk():
            headers = self._headers_of(users)
            version = _current(headers, round_number)
            for row, (user, n) in enumerate(zip(users, _of(headers, "length", version), strict=True)):
                entries[row, :n] = self._read(self._entry, n, self._place(user, version[row]))
        return MemoryArrays(*(np.ascontiguousarray(entries[name]) for name in self._entry.names or ()))

    def handed_on(self, users: Users, round_number: int) -> Counts:
        """Tell how many of their interactions users [C] had handed on after a number of completed rounds."""
        with self._disk():
            headers = self._headers_of(users)
        return _of(headers, "handed_on", _current(headers, round_number))

    def write(self, users: Users, memories: MemoryArrays, handed_on: Counts, round_number: int) -> None:
        """Store what users [C] hold after a number of completed rounds, one or more.

        Args:
            users: their indices.
            memories: their memories.
            handed_on: how many of their interactions they have handed on [C].
            round_number: after how many rounds this counts.
        """
        assert round_number > 0, "round 0 is that of a version never written"
        entries = np.zeros((len(users), self.capacity), self._entry)
        for name, values in vars(memories).items():
            entries[name] = values
        with self._disk():
            headers, rows = self._headers_of(users), np.arange(len(users))
            headers["round"][headers["round"] >= round_number] = 0  # left by rounds that were abandoned
            version = headers["round"].argmin(1)
            headers["round"][rows, version] = round_number
            headers["length"][rows, version] = memories.lengths
            headers["handed_on"][rows, version] = handed_on
            for row, user in enumerate(users):
                n = headers["length"][row, version[row]]
                self._write(entries[row, :n], self._place(user, version[row]))
                self._write(headers[row], self._header_place(user))

    def forget_round(self, round_number: int) -> None:
        """Forget what counted from this number of completed rounds on; what each user held before counts again."""
        with self._disk():
            for first in range(0, self.num_users, BLOCK):
                headers = self._headers(first, min(BLOCK, self.num_users - first)).copy()
                headers["round"][headers["round"] == round_number] = 0
                self._write(headers, self._header_place(first))

    def occupied(self, users: Users, round_number: int) -> Users:
        """Find those of the users [C] who hold anything after a number of completed rounds."""
        found: Users = users[self._of_all("length", round_number)[users] > 0]
        return found

    def changed(self, users: Users, round_number: int) -> Users:
        """Find those of them whose memory that last round has written."""
        holders = self.occupied(users, round_number)
        found: Users = holders[self._of_all("round", round_number)[holders] == round_number]
        return found

    def all_handed_on(self, round_number: int) -> Counts:
        """Tell the same as ``handed_on`` of all users [U]."""
        return self._of_all("handed_on", round_number)

    def _of_all(self, name: str, round_number: int) -> Counts:
        """Look a number of every user's header up [U], as it stood after a number of completed rounds."""
        found = np.zeros(self.num_users, np.int64)
        with self._disk():
            for first in range(0, self.num_users, BLOCK):
                n = min(BLOCK, self.num_users - first)
                headers = self._headers(first, n)
                found[first : first + n] = _of(headers, name, _current(headers, round_number))
        return found

    def _check(self) -> None:
        """Give a new file its preamble; refuse one of another kind."""
        expected = np.array((MAGIC, self.num_users, self.capacity, self.dim), PREAMBLE)
        found = self._read(PREAMBLE, 1, 0)[0]
        if not any(found.tobytes()):
            self._write(expected, 0)
        elif found != expected:
            raise CheckpointError(
                f"{self.path}: does not hold the memories of {self.num_users} users with {self.capacity} entries of "
                f"{self.dim} dimensions. Choose another place, or remove it."
            )

    def _header_place(self, user: int) -> int:
        assert 0 <= user < self.num_users, f"user {user} of {self.num_users}"
        return PREAMBLE.itemsize + int(user) * HEADER.itemsize

    def _place(self, user: int, version: int) -> int:
        versions = PREAMBLE.itemsize + self.num_users * HEADER.itemsize
        return versions + (2 * int(user) + int(version)) * self.capacity * self._entry.itemsize

    def _headers(self, first: int, n: int) -> Records:
        return self._read(HEADER, n, self._header_place(first))

    def _headers_of(self, users: Users) -> Records:
        return np.array([self._headers(user, 1)[0] for user in users], HEADER)

    def _read(self, dtype: np.dtype[np.void], n: int, place: int) -> Records:
        """Read n records; zeros beyond the file's end."""
        size, data = int(n) * dtype.itemsize, b""
        while len(data) < size and (more := os.pread(self._file, size - len(data), place + len(data))):
            data += more
        return np.frombuffer(data.ljust(size, b"\0"), dtype)

    def _write(self, records: Records, place: int) -> None:
        rest = memoryview(records.tobytes())
        while rest:  # a disk may take only part
            done = os.pwrite(self._file, rest, place)
            rest, place = rest[done:], place + done

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Turn what a full or forbidding disk causes into one error that names the file."""
        try:
            yield
        except OSError as error:
            raise disk_error(
                error,
                f"{self.path}: clients' memories cannot be read or written ({error.strerror}). "
                "Make room or choose another place.",
            ) from None


def _current(headers: Records, round_number: int) -> Counts:
    """Find the version [n] that counts after a round; -1 where there is none."""
    rounds = np.where(headers["round"] <= round_number, headers["round"], 0)
    version = rounds.argmax(1)
    return np.where(rounds[np.arange(len(headers)), version] > 0, version, -1)


def _of(headers: Records, name: str, version: Counts) -> Counts:
    """Look a number up in headers [n] by the version that counts; 0 where there is none."""
    return np.where(version >= 0, headers[name][np.arange(len(headers)), version], 0)
