# Flower is installed in an environment of its own, out of mypy's sight.
# mypy: disable-error-code="import-not-found, untyped-decorator"
"""W as a Flower app: one client is one user, FedAvg, parameters as numpy arrays.

The message API and the Ray simulation are Flower's; the model, the segments and the negatives are FedMem's, so that
both sides do the same steps. What a worker can keep between clients (model, data) it keeps.
"""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from torch import Tensor
from torch.nn import functional as F

from benchmarks.flower.process_time import Reading
from fedmem.data.client_dataset import ClientDataset
from fedmem.model.sasrec import SASRec
from fedmem.randomness import numpy_generator

client_app = ClientApp()


class Workload:
    """What ``compare.py`` wrote into the folder: settings, training histories, initial parameters."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.settings: dict[str, Any] = json.loads((folder / "settings.json").read_text())
        self.model = SASRec(**self.settings["model"])
        with np.load(folder / "histories.npz") as arrays:
            histories = np.split(arrays["sequence"], arrays["offsets"][1:-1])
        self.clients = [ClientDataset(history, self.settings["model"]["num_items"]) for history in histories]

    @classmethod
    @functools.cache
    def of(cls, folder: str) -> "Workload":
        """Read the workload of a folder, once per worker."""
        return cls(Path(folder))


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Do one client update: load the global model, four epochs of one Adam step each, send the model back."""
    config = message.content["config"]
    workload = Workload.of(config["folder"])
    workload.model.load_state_dict(message.content["arrays"].to_torch_state_dict(keep_input=False), assign=True)
    user = int(context.node_config["partition-id"])
    train_locally(workload, user, int(config["server-round"]) - 1)
    metrics = MetricRecord({"num-examples": len(workload.clients[user].history)})
    arrays = ArrayRecord(workload.model.state_dict())
    return Message(content=RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


def train_locally(workload: Workload, user: int, server_round: int) -> None:
    """Train one user's local epochs, one step over the whole history each."""
    model, data, settings = workload.model, workload.clients[user], workload.settings
    optimizer = torch.optim.Adam(model.parameters(), settings["learning_rate"], fused=True)
    for epoch in range(settings["local_epochs"]):
        rng = numpy_generator(settings["seed"], "client", server_round, user, epoch)
        segments = data.segments(model.max_seq_len, 0.0, rng)
        items = torch.from_numpy(segments.items[:, : segments.length.max()]).long()
        negatives = torch.from_numpy(data.negatives(settings["num_negatives"], rng)).long()
        optimizer.zero_grad()
        mean_loss(model, items, negatives).backward()
        optimizer.step()


def mean_loss(model: SASRec, items: Tensor, negatives: Tensor) -> Tensor:
    """Compute sampled softmax of every item of the segments [S, T] given those before it, against negatives [N]."""
    # One look-up, hence one gradient of the whole table.
    rows = F.embedding(torch.cat([items.flatten(), negatives]), model.item_embedding)
    targets = rows[: items.numel()].view(*items.shape, -1)
    states = model.encode(targets[:, :-1])[items > 0]  # [n, D], without padding
    positive = (states * targets[items > 0]).sum(-1, keepdim=True)
    logits = torch.cat([positive, states @ rows[items.numel() :].T], dim=1)  # [n, 1 + N]
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))


class MeasuredFedAvg(FedAvg):  # type: ignore[misc]
    """FedAvg that reads the CPU clocks after every round and keeps the first round's parameters."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.readings: list[Reading] = []
        self.updates: list[int] = []
        self.first: ArrayRecord | None = None

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average, then read the clocks."""
        replies = list(replies)
        arrays, metrics = super().aggregate_train(server_round, replies)
        self.updates.append(sum(not reply.has_error() for reply in replies))
        self.first = self.first or arrays
        self.readings.append(Reading.now())
        return arrays, metrics


def server_app(folder: Path, rounds: int, strategy: MeasuredFedAvg) -> ServerApp:
    """Make a server that starts from the folder's initial parameters."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        with np.load(folder / "initial.npz") as arrays:
            initial = ArrayRecord({name: torch.from_numpy(value) for name, value in arrays.items()})
        strategy.start(grid, initial, num_rounds=rounds, train_config=ConfigRecord({"folder": str(folder)}))

    return app
