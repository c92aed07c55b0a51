"""How long work is interrupted: it calls ``heed`` between two of its steps, which asks whoever watches it.

Who starts work says by ``heeding`` what is asked; what that raises ends the work where it stands. So a stop reaches the
inside of a chunk of clients, whatever its size, without every function on the way handing it on.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

MOST_WORK = 2**33  # multiplications of one operation, between two looks whether to go on: half a second
# Multiplications that take as long as what is done number by number between two matrix products, per number.
PER_TOKEN = 1024


def _nothing() -> None:
    pass


_go_on: ContextVar[Callable[[], None]] = ContextVar("go_on", default=_nothing)


@contextmanager
def heeding(go_on: Callable[[], None]) -> Iterator[None]:
    """Let ``go_on`` be asked by what is done inside, in this thread; it raises to end that."""
    before = _go_on.set(go_on)
    try:
        yield
    finally:
        _go_on.reset(before)


def heed() -> None:
    """Ask whether to go on; called where work may be left, at least several times a second."""
    _go_on.get()()


def heeded(works: Iterable[T]) -> Iterator[T]:
    """Heed a stop before each piece of work."""
    for work in works:
        heed()
        yield work
