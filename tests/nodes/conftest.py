"""Nodes in this process: letters cross as bytes, and whatever a test wants to go wrong goes wrong."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest

from fedmem.checkpoint import Snapshot
from fedmem.memory.memory_store import MemoryStore
from fedmem.nodes.letter import Letter
from fedmem.nodes.node import Node
from fedmem.nodes.node_store import NodeStore
from tests.tiny import tiny_config, tiny_dataset, tiny_snapshot

Trouble = Callable[[str, Letter, Letter], Letter | str]


class LoopbackCourier:
    """Carries letters to nodes of this process.

    Attributes:
        of: the nodes by number; a test may take one away.
        trouble: makes of a node's name, what it was asked and its answer what arrives of it.
        sent: what arrived of which node, in bytes.
    """

    def __init__(self, nodes: Mapping[int, Node]) -> None:
        self.of = dict(nodes)
        self.trouble: Trouble = lambda name, asked, answer: answer
        self.sent: list[tuple[str, bytes]] = []

    def stores(self, run: str) -> list[MemoryStore]:
        """Open the nodes' memories of a run, in the nodes' order."""
        paths = [NodeStore(node.store, run) for node in self.of.values()]
        return [MemoryStore(each.path / "memories", each.dataset().num_users, 6, 8) for each in paths]

    def nodes(self) -> Sequence[int]:
        return list(self.of)

    def exchange(self, letters: Mapping[int, Letter], patience: float) -> Iterator[tuple[int, Letter | str]]:
        for number, letter in letters.items():
            if number not in self.of:
                yield number, "it is gone"
                continue
            node, asked = self.of[number], Letter.from_bytes(letter.to_bytes())
            content = node.answer(asked).to_bytes()
            self.sent.append((node.name, content))
            yield number, self.trouble(node.name, asked, Letter.from_bytes(content))

    def close(self) -> None:
        pass


SHARDS = {"amsterdam": range(0, 4), "berlin": range(4, 7), "cadiz": range(7, 12)}
FIVE_ROUNDS = {"num_rounds": 5, "client_fraction": 0.5, "server_warmup_steps": 2, "chunk_size": 3}


@pytest.fixture
def together() -> Snapshot:
    """What a simulation of all users starts from."""
    return tiny_snapshot(tiny_config(federated=FIVE_ROUNDS), preferences=False)


@pytest.fixture
def apart() -> Snapshot:
    """What a run on nodes starts from: the catalogue, and no user."""
    config = tiny_config(federated=FIVE_ROUNDS, engine="flower", flower={"minimum_nodes": 3})
    return tiny_snapshot(config, tiny_dataset().catalogue(), preferences=False)


@pytest.fixture
def courier(tmp_path: Path) -> LoopbackCourier:
    """Three nodes, each with a file of its own users."""
    dataset = tiny_dataset()
    return LoopbackCourier(
        {
            number: Node(name, shard(dataset, tmp_path / f"{name}.csv", users), tmp_path / name)
            for number, (name, users) in enumerate(SHARDS.items(), start=101)
        }
    )


def shard(dataset, path: Path, users: range) -> Path:
    """Write a file of some users."""
    rows = [(f"user-{user:02d}", item) for user in users for item in dataset.history(user).tolist()]
    pd.DataFrame(rows, columns=["user_id", "item_id"]).to_csv(path, index=False)
    return path
