"""What is known of some jobs, kept once for all sessions: a place for each, with a lock of its own."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class Place(Generic[T]):
    """What is known of one job. The holder of its lock may ask the backend, and blocks no other job's place."""

    value: T
    lock: Lock = field(default_factory=Lock)


class Shelf(Generic[T]):
    """A place for each of the jobs looked at last; the others are forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: OrderedDict[Hashable, Place[T]] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def place(self, key: Hashable, new: T) -> Iterator[Place[T]]:
        """Hold the place of this key until the block ends, with ``new`` in it where there was none."""
        with self._lock:
            place = self._places.setdefault(key, Place(new))
            self._places.move_to_end(key)
            while len(self._places) > self._most:
                self._places.popitem(last=False)
        with place.lock:
            yield place
