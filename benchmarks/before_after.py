"""CPU time of this source over that of another checkout: rounds, client updates and answers, in one interleaved run.

    python -m benchmarks.before_after OTHER_CHECKOUT [--turns N] [--keep]

Each checkout has a process of its own, of its own ``.venv``, that makes everything first; then they take turns, now
this one first, now the other: one thread, CPU seconds. A ratio is the median over the turns, with the middle half.
The transition memory, which the other checkout may not have, is off on both sides; what it costs stands apart.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GOAL = 1.03
GOALS = {"round_with_transitions": 1.1, "answer_with_transitions": 1.15}  # of the same without
USERS, ITEMS = 300, 3706
STRENGTH = 0.5  # of the transition memory in an answer; any but 0 costs the same
Sides = dict[str, Callable[[], object]]


def sides() -> Sides:
    """Make what is measured, of the source that this process imports, each once done before."""
    import torch

    torch.set_num_threads(1)
    found = {name: side for part in (rounds, updates, answers, rankings) for name, side in part().items()}
    for side in found.values():
        side()
    return found


def rounds() -> Sides:
    """Rounds of FedMem-Full on ML-100K, with full memories, and the same without memory and retriever."""
    from benchmarks import simulate

    place = simulate.find_movielens()
    dataset = simulate.generated_movielens()
    if place is not None:
        from fedmem.data.formats import load_dataset

        dataset = load_dataset(place)
    switches = {"round": without_transitions(), "round_without_memory": without_transitions(disable_moe=True)}
    if switches["round"]:
        switches["round_with_transitions"] = {}
    servers = {n: simulate.server_of(simulate.configured(ablation=s), dataset) for n, s in switches.items()}
    for server in servers.values():
        list(server.population.train(dataset.trainable_users, server.distribute_model()))
    return {name: server.run_round for name, server in servers.items()}


def without_transitions(**switches: bool) -> dict[str, bool]:
    """Switch the transition memory off, where there is one."""
    from fedmem.config import AblationConfig

    return switches | ({"disable_transitions": True} if "disable_transitions" in AblationConfig.model_fields else {})


def updates() -> Sides:
    """Client updates of SASRec in several local steps."""
    from benchmarks import simulate
    from benchmarks.workload import generated_dataset, p1_config

    dataset = generated_dataset(simulate.CLIENTS, simulate.FEW_ITEMS)
    config = p1_config(federated={"client_fraction": 1.0}, ablation=without_transitions())
    server = simulate.server_of(config, dataset, text=False)
    return {"updates": lambda: list(server.population.train(dataset.trainable_users, server.distribute_model()))}


def answers() -> Sides:
    """Answers for known users with long histories and full memories, their vectors kept or not."""
    from benchmarks.drawn import checkpoint_of, snapshot_of
    from fedmem.serving import Question, Recommender

    found: Sides = {}

    def add(name: str, recommender: Recommender) -> None:
        users = recommender.dataset.vocabulary.users[:USERS]
        found[name] = lambda: [recommender.answer(Question(user)) for user in users]

    snapshot = snapshot_of(ITEMS, USERS)
    checkpoint = checkpoint_of(snapshot)
    add("answer", Recommender.of(snapshot, checkpoint, "drawn", kept_vectors=0))
    add("answer_kept", Recommender.of(snapshot, checkpoint, "drawn"))
    if without_transitions():
        reading = Recommender.of(snapshot, with_transitions(snapshot, checkpoint), "drawn", kept_vectors=0)
        assert reading.scorer.transitions is not None
        add("answer_with_transitions", reading)
    return found


def with_transitions(snapshot: Any, checkpoint: Any) -> Any:
    """Let a checkpoint's server have counted all histories."""
    from fedmem.memory.transitions import TransitionCounts

    dataset, window = snapshot.dataset, snapshot.config.transitions.window
    histories = [dataset.history(user) for user in range(dataset.num_users)]
    counts = TransitionCounts.of(histories, dataset.num_items, window)
    server = replace(checkpoint.server, transitions=counts, new_transitions=counts, strength=STRENGTH)
    return replace(checkpoint, server=server, handed_on=dataset.lengths)


def rankings() -> Sides:
    """Exact top 10 of one query and of 32."""
    import numpy as np

    from benchmarks import serve
    from fedmem.serving.ranking import ExactRanking, TopK

    rng = np.random.default_rng(0)
    ranking = ExactRanking(serve.columns_of(rng.standard_normal((serve.FEW_ITEMS, serve.DIM)).astype(np.float32)))
    queries = rng.standard_normal((serve.BATCH, serve.DIM)).astype(np.float32)
    wanted = [TopK(serve.K, np.zeros(0, np.int64))] * serve.BATCH
    return {
        "ranking": lambda: [ranking.best(queries[:1], wanted[:1]) for _ in range(300)],
        "ranking_of_32": lambda: [ranking.best(queries, wanted) for _ in range(30)],
    }


def answer_on_request() -> None:
    """Be one checkout's process: print the names, then for each name that comes the CPU seconds that it took."""
    found = sides()
    sys.stdout.write(" ".join(found) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        began = time.process_time()
        found[line.strip()]()
        sys.stdout.write(f"{time.process_time() - began}\n")
        sys.stdout.flush()


class Checkout:
    """The process of one checkout."""

    def __init__(self, folder: Path) -> None:
        command = [str(folder / ".venv" / "bin" / "python"), str(Path(__file__).resolve()), "--side"]
        environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        self.folder = folder
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def names(self) -> list[str]:
        """Wait until it has made everything, and return what there is to be done."""
        return self._said().split()

    def seconds(self, name: str) -> float:
        """Let it do one thing once."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        return float(self._said())

    def _said(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {self.folder} has ended with exit code {self.process.wait()}")
        return line


def compared(before: Checkout, after: Checkout, turns: int) -> dict[str, list[float]]:
    """Return the ratios by name: the quartiles of the turns."""
    known, names = before.names(), after.names()
    pairs = {name: ((after, name), (before, name)) for name in names if name in known}
    apart = {n: ((after, n), (after, n.replace("_with_transitions", ""))) for n in names if "_with_transitions" in n}
    ratios: dict[str, list[float]] = {name: [] for name in pairs | apart}
    for turn in range(turns):
        for name, both in (pairs | apart).items():
            took = {place: both[place][0].seconds(both[place][1]) for place in ((0, 1), (1, 0))[turn % 2]}
            ratios[name].append(took[0] / took[1])
    return {name: [round(q, 3) for q in statistics.quantiles(found, n=4)] for name, found in ratios.items()}


def main() -> None:
    """Measure, and print a line for each thing that is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the other checkout, with a .venv of its own")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results/before_after.json too")
    arguments = parser.parse_args()
    checkouts = Checkout(arguments.other.resolve()), Checkout(ROOT)
    try:
        found = compared(*checkouts, arguments.turns)
    finally:
        for checkout in checkouts:
            checkout.process.kill()
    for name, (low, middle, high) in found.items():
        goal = next((g for start, g in GOALS.items() if name.startswith(start)), GOAL)
        sys.stdout.write(f"{name:>32}  {middle:.3f}  ({low:.3f} to {high:.3f}; goal: at most {goal})\n")
    if arguments.keep:
        from benchmarks.measure import machine, write_result

        kept = {"ratios": found, "turns": arguments.turns, "before": commit(arguments.other), "machine": machine()}
        sys.stdout.write(f"kept in {write_result('before_after', kept)}\n")


def commit(folder: Path) -> str:
    """Name the commit of a checkout."""
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    if sys.argv[1:] == ["--side"]:
        answer_on_request()
    else:
        main()
