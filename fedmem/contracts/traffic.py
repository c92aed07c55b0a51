"""What a round's metrics say of the messages between clients and server, by direction and part."""

from collections.abc import Mapping
from typing import Literal

from fedmem.contracts.jobs import Split

Direction = Literal["down", "up"]
DIRECTIONS: tuple[Direction, ...] = ("down", "up")
PARTS = ("weights", "prototypes", "transitions", "keys")  # keys: all that secure sums add


Metrics = Mapping[Split, Mapping[str, float]]  # of a round, by split and name


def bytes_each(metrics: Metrics, direction: Direction, part: str) -> float:
    """Look up what one client sent or got of a part in a round, in bytes on the wire."""
    return metrics.get("train", {}).get(f"bytes_{direction}_{part}", 0.0)


def parties(metrics: Metrics, direction: Direction, part: str) -> float:
    """Count the clients that sent or got a part in a round.

    They are those that train, but for the table of transitions, which goes to those that validate.
    """
    if (direction, part) == ("down", "transitions"):
        return metrics.get("validation", {}).get("users", 0.0) if bytes_each(metrics, direction, part) else 0.0
    return metrics.get("train", {}).get("clients", 0.0)


def bytes_sent(metrics: Metrics, direction: Direction, part: str) -> float:
    """Sum a part over the clients that sent or got it in a round, in bytes on the wire."""
    return bytes_each(metrics, direction, part) * parties(metrics, direction, part)


def bytes_of_training(metrics: Metrics, direction: Direction) -> float:
    """Sum what one client that trains sent or got in a round, which is no table of transitions, in bytes."""
    parts = PARTS if direction == "up" else ("weights", "prototypes", "keys")
    return sum(bytes_each(metrics, direction, part) for part in parts)
