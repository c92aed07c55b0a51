"""What a round weighs with many users and items: arithmetic, of sizes that FedMem's own functions give.

    python -m benchmarks.deployment        # the tables of docs/deployment.md

Of the complete method without texts: 64 dimensions, 5 prototypes. What was measured of a million users is read from
benchmarks/results/million.json; figures of other numbers of users are in proportion to it.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.measure import RESULTS
from benchmarks.simulate import configured
from fedmem.config import ExperimentConfig
from fedmem.features.store import ItemFeatures
from fedmem.federated.messages import ITEM_ROWS, Broadcast, wire_size
from fedmem.federated.start import build_model, initial_state
from fedmem.memory.count_sketch import sketched
from fedmem.memory.transitions import TransitionCounts
from fedmem.secure_sums.session import Session

ITEMS, USERS = (10_000, 1_000_000), (10_000, 1_000_000, 100_000_000)
CLIENTS = 1_000  # of a round
TOUCHED = 100  # items of a client's history, and negatives, whose rows a sampled loss changes
LINE, SERVER_LINE = 10e6 / 8, 1e9 / 8  # bytes a second: a client's way up, the server's
SKETCH = {"sketch_bits": 18, "sketch_rows": 3}
UNITS = {3: "KB", 6: "MB", 9: "GB", 12: "TB"}
FEW = 100  # items of the model whose table of items is then made longer


def broadcast_of(items: int) -> Broadcast:
    """Return a broadcast of a model's shapes; nothing is in its table of items."""
    features = ItemFeatures(FEW)
    state = initial_state(configured(), build_model(configured(), FEW, features), features)
    rows = np.zeros((items + 1, state.parameters[ITEM_ROWS].shape[1]), np.float32)
    return Broadcast(0, {**state.parameters, ITEM_ROWS: rows}, state.global_memory)


def keys_of(config: ExperimentConfig) -> int:
    """Return the bytes that secure sums add to a client's way up."""
    others = tuple(range(1, config.secure_sums.neighbours + 1))
    return Session("updates", 0, {0: others}, {}, 1).bytes_up()


def a_client(items: int) -> dict[str, float]:
    """Count what crosses for one client in a round, in bytes, and the seconds that takes."""
    config, broadcast = configured(), broadcast_of(items)
    rest = {name: values for name, values in broadcast.parameters.items() if name != ITEM_ROWS}
    rows = broadcast.parameters[ITEM_ROWS][:TOUCHED]
    new = TransitionCounts.of([np.array([1, 2], np.int32)], items, config.transitions.window)
    sketch = configured(transitions=SKETCH).transitions
    dense, touched = sum(broadcast.num_bytes().values()), wire_size({**rest, ITEM_ROWS: rows}) + 4 * TOUCHED
    return {
        "model and prototypes down, update up: each": dense,
        f"update up, of items {TOUCHED} rows alone, which names them": touched,
        "what secure sums add up, beside words as long as the update": keys_of(config),
        "transitions up, all pairs, in a round in which a client has new ones": new.num_bytes,
        f"transitions up, a sketch of {sketch.sketch_rows} · 2^{sketch.sketch_bits} cells": sketched(
            new, sketch
        ).num_bytes,
        "transition table down, to who validates, at most": 8 * items * config.transitions.neighbours,
        f"seconds up a client's line of {LINE * 8 / 1e6:.0f} Mbit/s": dense / LINE,
        f"seconds of the server's line of {SERVER_LINE * 8 / 1e9:.0f} Gbit/s for {CLIENTS:,} clients, one way": CLIENTS
        * dense
        / SERVER_LINE,
        "the same with rows alone": CLIENTS * touched / SERVER_LINE,
    }


def an_installation(users: int, measured: dict[str, Any]) -> dict[str, float]:
    """Count what a simulation of so many users takes, in proportion to the one that ran."""
    phases = {each["phase"]: each["cpu_seconds"] for each in measured["phases"]}
    times, rounds = users / measured["users"], [phases[f"round {n}"] for n in range(1, 6)]
    interactions = measured["interactions"] * times
    a_round = float(np.median(rounds))
    return {
        "memory: histories, without ids": 4 * interactions + 8 * users,
        "disk: memories of all users": measured["memories_on_disk_mib"] * 2**20 * times,
        "disk: a checkpoint": measured["checkpoint_mib"] * 2**20 * times,
        f"CPU seconds of a round of {CLIENTS:,} clients": a_round,
        "rounds until all took part once": users / CLIENTS,
        "CPU hours of those": a_round * users / CLIENTS / 3600,
        "CPU hours of a validation by all": phases["ranking"] / measured["users_who_ranked"] * users / 3600,
        "CPU hours of a checkpoint of all memories": phases["checkpoint"] * times / 3600,
    }


def shown(name: str, value: float) -> str:
    """Write a figure with its unit, to two digits."""
    if any(word in name for word in ("seconds", "hours", "rounds", "the same")):
        return f"{value:,.0f}" if value >= 10 else f"{value:.2g}" if value >= 0.01 else "less than 0.01"
    unit = next(power for power in (12, 9, 6, 3) if value >= 10**power)
    scaled = value / 10**unit
    return f"{scaled:,.0f} {UNITS[unit]}" if scaled >= 10 else f"{scaled:.1f} {UNITS[unit]}"


def table(head: str, columns: dict[str, dict[str, float]]) -> Iterator[str]:
    """Write a table in Markdown, line by line."""
    yield f"| {head} | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for name in next(iter(columns.values())):
        yield f"| {name} | {' | '.join(shown(name, column[name]) for column in columns.values())} |"


def tables() -> Iterator[str]:
    """Write both tables."""
    measured = json.loads((RESULTS / "million.json").read_text(encoding="utf-8"))
    yield from table("one client in a round", {f"{items:,} items": a_client(items) for items in ITEMS})
    yield ""
    yield from table(
        "a simulation, 10,000 items", {f"{users:,} users": an_installation(users, measured) for users in USERS}
    )


def main() -> None:
    """Print the tables."""
    sys.stdout.write("\n".join(tables()) + "\n")


if __name__ == "__main__":
    main()
