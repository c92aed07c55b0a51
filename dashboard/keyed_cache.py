"""What is known of some jobs, kept once for all sessions: an entry for each, with a lock of its own."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class CacheEntry(Generic[T]):
    """What is known of one job. The holder of its lock may ask the backend, and blocks no other job's entry."""

    value: T
    lock: Lock = field(default_factory=Lock)


class KeyedCache(Generic[T]):
    """An entry for each of the jobs looked at last; the others are forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[Hashable, CacheEntry[T]] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def entry(self, key: Hashable, new: T) -> Iterator[CacheEntry[T]]:
        """Hold the entry of this key until the block ends, with ``new`` in it where there was none."""
        with self._lock:
            entry = self._entries.setdefault(key, CacheEntry(new))
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
        with entry.lock:
            yield entry
