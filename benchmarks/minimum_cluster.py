"""What a least size of clusters keeps from who inverts prototypes, and what it costs: recall against NDCG@10.

    python -m benchmarks.minimum_cluster runs/full

``runs/full`` is a run of the complete method, whose clients, with the memories of its best round, distil prototypes in
--rounds rounds as in ``benchmarks.private_prototypes``; here clusters of fewer members than --least are not sent.

recall   share of a client's memory that matching pursuit finds in what it sends, beside as many guesses at random, over
         --clients clients; ``nearest`` is the share of prototypes whose nearest item is in the memory.
sent     share of remembered items that are in a cluster that is sent.
ndcg     NDCG@10 of the best model, which then reads what came of the sums, with the transition memory.

Nothing is trained. Writes benchmarks/results/minimum_cluster-NAME.json.
"""

import argparse
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.measure import machine, write_result
from benchmarks.private_prototypes import Rounds, Row, row_of
from fedmem.attacks.prototype_inversion import nearest_rate, recall
from fedmem.checkpoint import RunDirectory
from fedmem.experiment import TrainingRun
from fedmem.features.inference import one_thread
from fedmem.federated.messages import ClientUpdate
from fedmem.federated.postprocessing import Postprocessor
from fedmem.federated.start import item_blocks
from fedmem.memory.prototypes import Prototypes


class OfAtLeast(Postprocessor):
    """Leaves out clusters of fewer members."""

    def __init__(self, least: int) -> None:
        self.least = least

    def postprocess_one_client(self, update: ClientUpdate, rng: np.random.Generator) -> ClientUpdate:
        """Leave them out of what one client sends."""
        assert update.prototypes is not None, "each sends some"
        return replace(update, prototypes=update.prototypes.of_at_least(self.least))


def measured(run: TrainingRun, rounds: int, sizes: list[int], clients: int) -> list[Row]:
    """Measure each size, 1 first."""
    many, start = Rounds.of_best(run, rounds)
    exact = many.released(start, (OfAtLeast(1),))
    rows = []
    for least in sizes:
        memory = many.released(start, (OfAtLeast(least),))
        rows.append(row_of(run, f"at least {least}", memory, exact) | found_of(many, memory, least, clients))
        sys.stdout.write(f"{rows[-1]}\n")
    return rows


def found_of(many: Rounds, memory: Prototypes, least: int, clients: int) -> Row:
    """Invert what clients send in a round that begins with this memory."""
    snapshot = many.run.snapshot
    catalogue, capacity = item_blocks(snapshot.features), snapshot.config.fedmem.memory_capacity
    chosen = np.random.default_rng(0).permutation(len(many.memories.items))[:clients]
    recalls, near, sent = [], [], []
    for client, one in zip(chosen, many.distilled(memory, chosen), strict=True):
        left, held = one.of_at_least(least), many.memories.items[client]
        held = held[held > 0]
        recalls.append(recall(left, held, catalogue, capacity))
        near += [nearest_rate(left, held, catalogue)] * bool(left.mass.any())
        sent.append(float(left.mass.sum() / max(one.mass.sum(), 1)))
    found, chance = np.mean(recalls, axis=0).tolist()
    nearest = float(np.mean(near)) if near else None
    return {"recall": found, "chance": chance, "nearest": nearest, "sent": float(np.mean(sent))}


def main() -> None:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run of the complete method; nothing of it is changed")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--least", type=int, nargs="+", default=[1, 3, 5, 8, 10, 15, 20, 30])
    parser.add_argument("--clients", type=int, default=100)
    chosen = parser.parse_args()
    directory = RunDirectory(chosen.run)
    with one_thread(), closing(TrainingRun.resume(chosen.run, directory.read_config())) as run:
        rows = measured(run, chosen.rounds, chosen.least, chosen.clients)
        record = {"rounds": chosen.rounds, "round": run.record.best, "rows": rows, "machine": machine()}
        kept = write_result(f"minimum_cluster-{run.snapshot.dataset.name}", record)
    sys.stdout.write(f"kept in {kept}\n")


if __name__ == "__main__":
    main()
