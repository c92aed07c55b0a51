"""Two runs that are equal, one simulated and one on three nodes, with the nodes' files and stores beside them."""

from contextlib import closing
from pathlib import Path

from fedmem.experiment import TrainingRun
from fedmem.nodes.node import Node
from tests.nodes.conftest import FIVE_ROUNDS, SHARDS, LoopbackCourier, shard
from tests.tiny import tiny_config, tiny_dataset, tiny_snapshot, trained


def write_runs(folder: Path) -> Path:
    """Write ``simulated`` and ``run``, and of each node NAME.csv and the store NAME; the folder."""
    dataset = tiny_dataset()
    trained(folder / "simulated", tiny_snapshot(tiny_config(federated=FIVE_ROUNDS), preferences=False))
    nodes = {
        number: Node(name, shard(dataset, folder / f"{name}.csv", users), folder / name)
        for number, (name, users) in enumerate(SHARDS.items())
    }
    config = tiny_config(federated=FIVE_ROUNDS, engine="flower", flower={"minimum_nodes": 3})
    snapshot = tiny_snapshot(config, dataset.catalogue(), preferences=False)
    with closing(TrainingRun.start(folder / "run", snapshot, courier=LoopbackCourier(nodes))) as run:
        list(run.rounds())
        run.finish()
    return folder


def history_of(user: int) -> list[str]:
    """The item ids that a user took, oldest first."""
    dataset = tiny_dataset()
    return [dataset.vocabulary.item_id(item) for item in dataset.history(user).tolist()]


def name_of(user: int) -> str:
    """The user's id in a node's file."""
    return f"user-{user:02d}"
