"""What carries letters to nodes and back: Flower, or a test."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from fedmem.nodes.letter import Letter


class Courier(Protocol):
    """Reaches the nodes that are there, each under a number that lasts as long as its process."""

    def nodes(self) -> Sequence[int]:
        """Tell which nodes are there now."""
        ...

    def exchange(self, letters: Mapping[int, Letter], patience: float) -> Iterator[tuple[int, Letter | str]]:
        """Send each node its letter; yield the answers as they come, or why one did not within so many seconds."""
        ...

    def close(self) -> None:
        """Send nothing more."""
        ...
