"""Peak memory of a round by the longest history: one user with 10,000, 100,000 and 1,000,000 interactions.

    python -m benchmarks.one_user

Each length runs in a fresh process: three rounds of FedMem-Full in which every client takes part, memories written from
the first on, and a validation; 300 other users have 10 to 20 interactions with 3,000 items. A client trains on the
newest ``data.max_history`` of its interactions, so that the peak must not grow with what it has beyond them. The peak
is that of the whole process, less what making the data set has added (Linux only).
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np

from benchmarks.measure import machine, write_result
from benchmarks.memory import Size, each_in_a_process, generated, ratio, status
from benchmarks.simulate import configured, server_of
from fedmem.data.federated_dataset import FederatedDataset

LENGTHS = (10_000, 100_000, 1_000_000)
USERS, ROUNDS = 300, 3
GOAL = 1.1


def with_one_long(length: int) -> FederatedDataset:
    """Generate users of whom the last has so many interactions."""
    usual = generated(USERS)
    drawn = np.random.default_rng(1).integers(1, usual.num_items + 1, length, dtype=np.int32)
    before = int(usual.offsets[-2])
    return dataclasses.replace(
        usual,
        offsets=np.concatenate([usual.offsets[:-1], [before + length]]),
        sequence=np.concatenate([usual.sequence[:before], drawn]),
        digest="",
    )


def measure(length: int, folder: Path) -> Size:
    """Measure one length, in this process, in bytes."""
    config = configured(federated={"client_fraction": 1.0}, evaluation={"eval_every": ROUNDS})
    server_of(config, generated(50), text=False, scratch=folder).run_round()  # libraries take their memory first
    before = status("VmRSS")
    dataset = with_one_long(length).configured(config.data)
    data = status("VmRSS") - before
    server = server_of(config, dataset, text=False, scratch=folder)
    for _ in range(ROUNDS):
        server.run_round()
    return {"longest": length, "peak": status("VmHWM"), "data": data}


def main() -> None:
    """Measure every length; print the ratios to the first and write benchmarks/results/one_user.json."""
    sizes = each_in_a_process("benchmarks.one_user", measure, LENGTHS)
    ratios = [round(ratio(sizes[0], size), 2) for size in sizes]
    path = write_result("one_user", {"ratios": ratios, "goal": GOAL, "sizes": sizes, "machine": machine()})
    for size, found in zip(sizes, ratios, strict=True):
        peak = size["peak"] / 2**20
        sys.stdout.write(f"{size['longest']:>9,} interactions: peak {peak:.0f} MiB, {found} of the first\n")
    sys.stdout.write(f"goal: at most {GOAL}; kept in {path}\n")


if __name__ == "__main__":
    main()
