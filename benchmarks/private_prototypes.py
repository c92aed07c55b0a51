"""What is left of the prototypes where they have a budget: centroids, and NDCG@10 of a model that reads them.

    python -m benchmarks.private_prototypes runs/full

``runs/full`` is a run of the complete method. Its clients, with the memories of its best round, distil prototypes in
--rounds rounds of Poisson samples from the public start; the server adds them up exactly, or clipped and with the noise
by which all rounds spend epsilon. The best model then reads what came of it. Nothing is trained. For ten and a hundred
times as many users the noise is divided by so much. Writes benchmarks/results/private_prototypes-NAME.json.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import machine, write_result
from fedmem.checkpoint import RunDirectory
from fedmem.experiment import TrainingRun
from fedmem.features.inference import one_thread
from fedmem.federated.messages import Broadcast, ClientUpdate, UpdateSum
from fedmem.federated.postprocessing import Postprocessors, of_round, postprocessed_sum, postprocessed_update
from fedmem.federated.private_prototypes import ClippedPrototypes, NoisedPrototypes
from fedmem.federated.prototype_aggregation import merge_prototypes
from fedmem.federated.start import initial_prototypes, item_blocks
from fedmem.memory.memory_arrays import MemoryArrays
from fedmem.memory.prototypes import Prototypes, distil_chunk
from fedmem.privacy.accountant import noise_for_rounds
from fedmem.randomness import numpy_generator

DELTA = 1e-6
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Rounds:
    """Rounds in which clients send nothing but prototypes.

    Attributes:
        run: the run, restored at its best round.
        memories: what each client remembers.
        number: how many rounds.
        rate: the probability with which each client takes part in one.
    """

    run: TrainingRun
    memories: MemoryArrays
    number: int
    rate: float

    @classmethod
    def of_best(cls, run: TrainingRun, number: int) -> tuple["Rounds", Prototypes]:
        """Restore the run's best round; the rounds, and the public start."""
        config = run.snapshot.config
        run.restore(run.record.best)
        entries = {user: one for some in run.population.memories(run.record.best) for user, one in some.items()}
        capacity, dim = config.fedmem.memory_capacity, config.model.sasrec_hidden_dim
        memories = MemoryArrays.of(list(entries.values()), capacity, dim)
        model = run.population.model  # type: ignore[union-attr]
        start = initial_prototypes(config.fedmem, config.seed, model, run.snapshot.features)
        # X# type: ignore[union-attr]
        return cls(run, memories, number, config.federated.client_fraction), start

    def released(self, start: Prototypes, postprocessors: Postprocessors) -> Prototypes:
        """Let them all pass: the global abstract memory at the end."""
        memory, momentum = start, self.run.snapshot.config.fedmem.prototype_momentum
        for number in range(self.number):
            begun = of_round(postprocessors, Broadcast(number, {}, memory))
            total = self._sum(memory, begun, number)
            rng = numpy_generator(self.run.snapshot.config.seed, "noise on prototypes", number)
            sent = postprocessed_sum(begun, total, rng).prototypes
            merged = merge_prototypes(sent, memory, momentum)
            assert merged is not None, "there was one"
            memory = merged
        return memory

    def _sum(self, memory: Prototypes, begun: Postprocessors, number: int) -> UpdateSum:
        total = memory.changed(np.zeros_like)
        rng = numpy_generator(self.run.snapshot.config.seed, "who sends prototypes", number)
        for one in self.distilled(memory, np.flatnonzero(rng.random(len(self.memories.items)) < self.rate)):
            sent = postprocessed_update(begun, ClientUpdate(1, prototypes=one), rng).prototypes
            assert sent is not None, "each sends some"
            total = total + sent
        return UpdateSum({}, 1.0, prototypes=total)

    def distilled(self, memory: Prototypes, clients: np.ndarray[Any, Any]) -> Iterator[Prototypes]:
        """Yield what each of these clients would send, by its place among the memories."""
        features = item_blocks(self.run.snapshot.features)
        found = distil_chunk(self.memories.items[clients], self.memories.id_embedding[clients], features, memory)
        return (found.of_client(client) for client in range(len(clients)))


def distance(found: Prototypes, exact: Prototypes) -> Row:
    """Compare centroids in the clustering block: mean cosine, and mean distance over the exact one's length."""
    space = exact.clustering_block
    one, other = found.centroids(space), exact.centroids(space)
    lengths = np.linalg.norm(other, axis=1)
    cosine = (one * other).sum(1) / np.maximum(np.linalg.norm(one, axis=1) * lengths, 1e-12)
    return {"cosine": float(cosine.mean()), "away": float((np.linalg.norm(one - other, axis=1) / lengths).mean())}


def measured(run: TrainingRun, rounds: int, epsilons: list[float], users: list[int]) -> list[Row]:
    """Measure the public start, the exact sums, and each budget."""
    config = run.snapshot.config
    many, start = Rounds.of_best(run, rounds)
    exact, norm = many.released(start, ()), config.privacy.prototypes_clip
    rows = [row_of(run, "public start", start, exact), row_of(run, "exact", exact, exact)]
    for epsilon in epsilons:
        for times in users:
            noise = noise_for_rounds(epsilon, DELTA, many.rate, rounds) / times
            private = (NoisedPrototypes(norm * noise), ClippedPrototypes(norm))
            name = f"epsilon {epsilon:g}, {times} x the users"
            rows.append(row_of(run, name, many.released(start, private), exact) | {"noise": noise})
    return rows


def row_of(run: TrainingRun, name: str, memory: Prototypes, exact: Prototypes) -> Row:
    """Have the best model read a global abstract memory: NDCG@10 with transitions and without, how far off it is."""
    run.server.state = replace(run.server.state, global_memory=memory)
    found: Row = {"prototypes": name, **distance(memory, exact)}
    for split in ("validation", "test"):
        tables = run.server.evaluate_with_and_without_transitions(split)
        found[split] = tables[run.server.state.strength].mean("NDCG@10")
        found[f"{split}_without_transitions"] = tables[0.0].mean("NDCG@10")
    sys.stdout.write(f"{found}\n")
    sys.stdout.flush()
    return found


def main() -> None:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run of the complete method; nothing of it is changed")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[2.0])
    parser.add_argument("--users", type=int, nargs="+", default=[1, 10, 100], help="times as many users")
    chosen = parser.parse_args()
    directory = RunDirectory(chosen.run)
    with one_thread(), closing(TrainingRun.resume(chosen.run, directory.read_config())) as run:
        rows = measured(run, chosen.rounds, chosen.epsilon, chosen.users)
        record = {"delta": DELTA, "rounds": chosen.rounds, "round": run.record.best, "rows": rows, "machine": machine()}
        kept = write_result(f"private_prototypes-{run.snapshot.dataset.name}", record)
    sys.stdout.write(f"kept in {kept}\n")


if __name__ == "__main__":
    main()
