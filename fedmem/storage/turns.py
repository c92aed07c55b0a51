"""Long work as many short transactions, between which whoever else writes has a turn."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from time import monotonic, sleep
from typing import TypeVar

from sqlalchemy import Connection, Engine

from fedmem.storage.engine import writing

PIECE = 1000  # rows
HOLD = 0.25  # seconds after which a transaction takes no more pieces
PAUSE = 0.12  # before the next: on SQLite a writer that waits looks every 0.1 s whether it may, and there is no queue

T = TypeVar("T")


def in_turns(engine: Engine, pieces: Iterable[T], write: Callable[[Connection, T], object]) -> None:
    """Write pieces of ``PIECE`` rows, none in two transactions; if one fails, those of transactions before stay."""
    rest = iter(pieces)
    for first in rest:
        with writing(engine) as connection:
            ends = monotonic() + HOLD
            write(connection, first)
            while monotonic() < ends and (piece := next(rest, None)) is not None:
                write(connection, piece)
        if monotonic() >= ends:
            sleep(PAUSE)


def split(rows: Iterable[T]) -> Iterator[list[T]]:
    """Split rows into pieces."""
    rest = iter(rows)
    while piece := list(itertools.islice(rest, PIECE)):
        yield piece
