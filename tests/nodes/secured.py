"""Runs whose nodes mask what they send."""

from typing import Any

from fedmem.checkpoint import Snapshot
from tests.nodes.conftest import FIVE_ROUNDS
from tests.tiny import tiny_config, tiny_dataset, tiny_snapshot

SECURE = {"enabled": True, "minimum_cohort": 3, "bits": 64}
# All users in every round, so that each of three nodes has some.
ALL_DRAWN = {**FIVE_ROUNDS, "client_fraction": 0.9}


def secured_snapshots(minimum_nodes: int = 3, **changes: Any) -> tuple[Snapshot, Snapshot]:
    """What a simulation with secure sums starts from, and the same on nodes."""
    shared: dict[str, Any] = {"federated": ALL_DRAWN, "secure_sums": SECURE, **changes}
    together = tiny_snapshot(tiny_config(**shared), preferences=False)
    config = tiny_config(**shared, engine="flower", flower={"minimum_nodes": minimum_nodes, "wait": 5.0})
    return together, tiny_snapshot(config, tiny_dataset().catalogue(), preferences=False)
