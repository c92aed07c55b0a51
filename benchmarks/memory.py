"""P6: peak memory of training with 1,000,000 users against 10,000.

    python -m benchmarks.memory

Each size runs in a fresh process: three rounds of FedMem-Full (sampled softmax, memories on disk) with the same share
of the users, so that the cohort grows with them, then every memory is read as a checkpoint reads it. The peak is that
of the whole process, making the data set included, less what the data set has added (Linux only). Users are generated,
10 to 20 interactions with 3,000 items each. Nothing is validated: a million rankings would take an hour.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import machine, write_result
from benchmarks.simulate import configured, server_of
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Item
from fedmem.data.vocabulary import Vocabulary
from fedmem.federated.simulation import SimulatedPopulation

FEW, MANY = 10_000, 1_000_000
ITEMS, ROUNDS, FRACTION = 3000, 3, 0.002
GOAL = 1.2

Size = dict[str, int]


def generated(num_users: int) -> FederatedDataset:
    """Generate sparse users, as arrays."""
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(10, 21, num_users))])
    items = tuple(str(item) for item in range(1, ITEMS + 1))
    return FederatedDataset(
        vocabulary=Vocabulary(tuple(map(str, range(num_users))), items),
        items=tuple(Item(item) for item in items),
        offsets=offsets,
        sequence=rng.integers(1, ITEMS + 1, offsets[-1], dtype=np.int32),
        min_sequence_length=5,
        name=f"{num_users} generated users",
    )


def status(field: str) -> int:
    """Read a field of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def measure(num_users: int, folder: Path) -> Size:
    """Measure one size, in this process, in bytes."""
    torch.set_num_threads(1)
    config = configured(training={"loss": "sampled_softmax"}, federated={"client_fraction": FRACTION})
    small = server_of(config, generated(1000), text=False, scratch=folder)
    small.run_round()  # torch and its libraries take their memory first
    before = status("VmRSS")
    dataset = generated(num_users)
    data = status("VmRSS") - before
    server = server_of(config, dataset, text=False, scratch=folder)
    for _ in range(ROUNDS):
        server.run_round()
    assert isinstance(server.population, SimulatedPopulation)
    remembered = sum(map(len, server.population.memories(server.state.round)))
    return {"users": num_users, "peak": status("VmHWM"), "data": data, "clients_with_memory": remembered}


def ratio(few: Size, many: Size) -> float:
    """Return the ratio of the two peaks, each less its data set."""
    return (many["peak"] - many["data"]) / (few["peak"] - few["data"])


def each_in_a_process(module: str, measure: Callable[[int, Path], Size], sizes: Sequence[int]) -> list[Size]:
    """Measure every size in a fresh process of a benchmark's module; in such a process, print its size and end."""
    about = sys.modules["__main__"].__doc__
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", type=int, help="measure one size in this process and print it as JSON")
    if one := parser.parse_args().one:
        with tempfile.TemporaryDirectory() as folder:
            sys.stdout.write(json.dumps(measure(one, Path(folder))) + "\n")
        sys.exit()
    return [_in_a_fresh_process(module, size) for size in sizes]


def _in_a_fresh_process(module: str, size: int) -> Size:
    command = [sys.executable, "-m", module, "--one", str(size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    found: Size = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure both sizes; print the ratio and write benchmarks/results/memory.json."""
    few, many = each_in_a_process("benchmarks.memory", measure, (FEW, MANY))
    p6 = ratio(few, many)
    path = write_result("memory", {"p6": p6, "goal": GOAL, "sizes": [few, many], "machine": machine()})
    for size in (few, many):
        mib = ", ".join(f"{name} {size[name] / 2**20:.0f} MiB" for name in ("peak", "data"))
        sys.stdout.write(f"{size['users']:>9,} users: {mib}\n")
    sys.stdout.write(f"p6 = {p6:.2f} (goal: at most {GOAL}); kept in {path}\n")


if __name__ == "__main__":
    main()
