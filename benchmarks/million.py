"""A simulation of 1,000,000 users: what each part takes, in time and memory.

    python -m benchmarks.million --out DIR

Users are generated: 10 to 20 interactions with 10,000 items, of which few are popular. All of them have a history, a
memory and a count of what they have handed on, and the transition memory holds what they did; both stand as a
checkpoint would have them, every user's newest items remembered, because to train a million clients once takes an hour.
Then the complete method (without texts) runs rounds of 1,000 clients each, of whom each has one new interaction to hand
on; some users rank their targets; and all of it is written as a checkpoint and read again. One process, one thread. The
peak is that of the process (Linux only); what the operating system holds of files is not counted.
"""

import argparse
import functools
import operator
import resource
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.measure import machine, write_result
from benchmarks.memory import status
from benchmarks.simulate import configured, server_of
from fedmem.checkpoint.checkpoints import Checkpoints
from fedmem.config import ExperimentConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Item
from fedmem.data.vocabulary import Vocabulary
from fedmem.federated.messages import ITEM_ROWS, Arrays, MetricSums
from fedmem.federated.round import broadcast_to_validate
from fedmem.federated.server import FedMemServer
from fedmem.federated.simulation import SimulatedPopulation
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.transitions import TransitionCounts

Counts = npt.NDArray[np.int64]
Items = npt.NDArray[np.int32]
Rows = npt.NDArray[np.floating[Any]]

USERS, ITEMS, FRACTION, ROUNDS = 1_000_000, 10_000, 0.001, 5
GROUPS = 40  # of 256 users each, who rank their targets
TOGETHER = 20_000  # users whose transitions are counted at once, and whose memories are made
GIB, MOST = 2**30, 10  # of the process, beyond which it ends


@dataclass
class Phases:
    """Seconds of each phase, and what the process held at its end."""

    told: list[dict[str, Any]] = field(default_factory=list)

    def run(self, name: str, work: Callable[[], Any]) -> Any:
        """Do a phase's work, note it, and say so."""
        began, cpu = time.monotonic(), time.process_time()
        found = work()
        self.told.append(
            {
                "phase": name,
                "seconds": round(time.monotonic() - began, 2),
                "cpu_seconds": round(time.process_time() - cpu, 2),
                "held_mib": status("VmRSS") >> 20,
                "peak_mib": status("VmHWM") >> 20,
            }
        )
        sys.stderr.write(f"{self.told[-1]}\n")
        return found


def generated(users: int, items: int) -> FederatedDataset:
    """Generate users who take items by popularity, the r-th in proportion to 1 / (r + 20)."""
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(10, 21, users))])
    popularity = np.cumsum(1 / (np.arange(items) + 20))
    drawn = np.searchsorted(popularity, rng.random(offsets[-1]) * popularity[-1]).astype(np.int32) + 1
    names = tuple(str(item) for item in range(1, items + 1))
    return FederatedDataset(
        vocabulary=Vocabulary(tuple(map(str, range(users))), names),
        items=tuple(map(Item, names)),
        offsets=offsets,
        sequence=np.minimum(drawn, items),
        name=f"{users} generated users",
    )


def counted(dataset: FederatedDataset, config: ExperimentConfig, handed_on: Counts) -> TransitionCounts:
    """Count what all users have handed on."""
    parts = []
    for first in range(0, dataset.num_users, TOGETHER):
        users = range(first, min(first + TOGETHER, dataset.num_users))
        histories = [dataset.training_history(user)[: handed_on[user]] for user in users]
        parts.append(TransitionCounts.of(histories, dataset.num_items, config.transitions.window))
        if len(parts) == 2:
            parts = [functools.reduce(operator.add, parts)]
    return parts[0]


def remembered(
    dataset: FederatedDataset, parameters: Arrays, capacity: int, handed_on: Counts
) -> Iterator[Mapping[int, MemoryEntries]]:
    """Make every user's memory: the newest items, each with its present embedding."""
    rng, rows = np.random.default_rng(1), parameters[ITEM_ROWS]
    for first in range(0, dataset.num_users, TOGETHER):
        users = range(first, min(first + TOGETHER, dataset.num_users))
        yield {user: _memory(dataset.training_history(user)[: handed_on[user]], rows, capacity, rng) for user in users}


def _memory(history: Items, rows: Rows, capacity: int, rng: np.random.Generator) -> MemoryEntries:
    last = {item: index for index, item in enumerate(history.tolist())}
    newest = sorted(last, key=last.__getitem__)[-capacity:]
    counts = Counter(history.tolist())
    items, index, frequency = (
        np.array(found, np.int32) for found in (newest, [last[i] for i in newest], [counts[i] for i in newest])
    )
    return MemoryEntries(items, index, frequency, rng.random(len(items), np.float32), rows[items])


def filled(server: FedMemServer, handed_on: Counts) -> None:
    """Have all users stand where they would after a round in which each took part."""
    population, config, state = server.population, server.config, server.state
    assert isinstance(population, SimulatedPopulation)
    memories = remembered(population.dataset, state.parameters, config.fedmem.memory_capacity, handed_on)
    population.restore_memories(memories, 1, handed_on)
    transitions = counted(population.dataset, config, handed_on)
    server.state = replace(state, round=1, transitions=transitions)


def ranked(server: FedMemServer) -> int:
    """Have some groups of users rank their targets, with all the transition memory's weights; how many they are."""
    broadcast = broadcast_to_validate(server.config, server.state)
    groups = server.population.evaluate(broadcast, "validation")
    return sum(group.count for group in islice(groups, GROUPS) if isinstance(group, MetricSums))


def measured(folder: Path, users: int, items: int) -> dict[str, Any]:
    """Run all phases; the record."""
    phases = Phases()
    config = configured(federated={"client_fraction": FRACTION})
    dataset = phases.run("data set", lambda: generated(users, items))
    server = phases.run("model and clients", lambda: server_of(config, dataset, text=False, scratch=folder))
    handed_on = np.maximum(dataset.training_lengths - 1, 0)  # the newest is new
    phases.run("memories and counts of all users", lambda: filled(server, handed_on))
    before = server.state.transitions
    reports = [phases.run(f"round {n}", server.run_round) for n in range(1, ROUNDS + 1)]
    ranking = phases.run("ranking", lambda: ranked(server))
    checkpoints, population, last = Checkpoints(folder / "rounds"), server.population, server.state.round
    assert isinstance(population, SimulatedPopulation)
    handed_on = population.handed_on(last)
    phases.run("checkpoint", lambda: checkpoints.write(server.state, population.memories(last), handed_on=handed_on))
    again = phases.run("reading it", lambda: sum(map(len, checkpoints.read_memories(last))))
    store = population.host.store.path.stat()
    assert before is not None
    assert server.state.transitions is not None
    return {
        "users": users,
        "items": items,
        "interactions": len(dataset.sequence),
        "clients_of_a_round": [int(report.metrics["clients"]) for report in reports],
        "users_who_ranked": ranking,
        "users_with_memory": again,
        "transitions": [before.pairs.nnz, server.state.transitions.pairs.nnz],
        "memories_on_disk_mib": store.st_blocks * 512 >> 20,
        "checkpoint_mib": sum(path.stat().st_size for path in checkpoints.folder_of(last).iterdir()) >> 20,
        "peak_mib": status("VmHWM") >> 20,
        "phases": phases.told,
        "machine": machine(),
    }


def main() -> None:
    """Measure, and write benchmarks/results/million.json unless the numbers of users and items are others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a new folder, removed at the end; 12 GB")
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--items", type=int, default=ITEMS)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MOST * GIB, MOST * GIB))
    torch.set_num_threads(1)
    arguments.out.mkdir()
    try:
        record = measured(arguments.out, arguments.users, arguments.items)
    finally:
        shutil.rmtree(arguments.out)
    if (arguments.users, arguments.items) == (USERS, ITEMS):
        write_result("million", record)
    sys.stdout.write(f"{record}\n")


if __name__ == "__main__":
    main()
