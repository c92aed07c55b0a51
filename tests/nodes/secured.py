"""Runs whose nodes mask what they send, and nodes for them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedmem.checkpoint import Snapshot
from fedmem.nodes.node import Node
from tests.nodes.conftest import FIVE_ROUNDS, LoopbackCourier, Trouble, shard
from tests.tiny import tiny_config, tiny_dataset, tiny_snapshot

# 64 bits: with 32 two ways to round once differ by more than Adam forgives where a gradient is nearly nothing.
SECURE = {"enabled": True, "minimum_cohort": 3, "bits": 64}
# Nearly all users in every round, so that each node has some.
ALL_DRAWN = {**FIVE_ROUNDS, "client_fraction": 0.9}
FOUR = {"amsterdam": range(0, 3), "berlin": range(3, 6), "cadiz": range(6, 9), "delft": range(9, 12)}


def secured_snapshots(**changes: Any) -> tuple[Snapshot, Snapshot]:
    """What a simulation with secure sums starts from, and the same on nodes, three of which are enough."""
    shared: dict[str, Any] = {"federated": ALL_DRAWN, "secure_sums": SECURE, **changes}
    together = tiny_snapshot(tiny_config(**shared), preferences=False)
    config = tiny_config(**shared, engine="flower", flower={"minimum_nodes": 3, "wait": 5.0})
    return together, tiny_snapshot(config, tiny_dataset().catalogue(), preferences=False)


def nodes_of(folder: Path, shards: Mapping[str, range] = FOUR) -> LoopbackCourier:
    """Nodes of this process with these users, each with a file and a store in a folder."""
    folder.mkdir(exist_ok=True)
    dataset = tiny_dataset()
    found = {
        number: Node(name, shard(dataset, folder / f"{name}.csv", users), folder / name)
        for number, (name, users) in enumerate(shards.items(), start=101)
    }
    return LoopbackCourier(found)


def hurried(apart: Snapshot, wait: float = 0.5) -> Snapshot:
    """The same snapshot, of a run that hardly waits for nodes."""
    flower = apart.config.flower.model_copy(update={"wait": wait})
    return replace(apart, config=apart.config.model_copy(update={"flower": flower}))


def lost(node: str, kind: str, times: int = 1_000) -> Trouble:
    """Lose a node's answers of a kind, so often."""
    left = [times]

    def trouble(name, asked, answer):
        if (name, asked.facts["kind"]) != (node, kind) or not left[0]:
            return answer
        left[0] -= 1
        return "it is gone"

    return trouble
