"""``kill -9`` at any moment: the finished run is that of a trainer that was never interrupted.

CI tries a few moments; ``python -m tests.end_to_end.test_kill 20`` as many as are asked for.
"""

import random
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from tests.end_to_end.killed_trainer import POINTS
from tests.end_to_end.products import ROUNDS, Product
from tests.forks import forked_workers
from tests.waiting import PATIENCE

HERE = Path(__file__).parent
# How often a run comes to each point, so that every moment of it can be drawn.
TIMES = {
    "snapshot": 1,
    "training": 2 * ROUNDS,
    "aggregation": ROUNDS,
    "evaluation": ROUNDS // 2,
    "half a file": 2 * ROUNDS,
    "before the rename": ROUNDS,
    "before the commit": ROUNDS,
    "after the commit": ROUNDS,
    "removal": 3,
    "the end": 1,
}


def moments(count: int, seed: int = 0) -> list[tuple[str, int]]:
    """So many (point, N), each point in turn."""
    rng = random.Random(seed)
    return [(point, rng.randint(1, TIMES[point])) for point in (POINTS[k % len(POINTS)] for k in range(count))]


def killed_and_resumed(folder: Path, point: str, number: int, workers: int = 1) -> dict[str, object]:
    """What a job comes to whose trainer was killed there and whose next trainer finished it."""
    product = Product.made(folder)
    job = product.queue({"workers": workers})
    process = product.start(str(HERE / "killed_trainer.py"), point, str(number))
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL, f"never came to {point!r} {number} times: {output}"
    product.let_lease_end(job.id)
    product.train()
    assert product.jobs.get(job.id).attempts == 2
    return product.outcome(job.id)


def uninterrupted(folder: Path) -> dict[str, object]:
    product = Product.made(folder)
    job = product.queue()
    product.train()
    return product.outcome(job.id)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    found = uninterrupted(tmp_path_factory.mktemp("whole"))
    assert (found["state"], found["round"]) == ("succeeded", ROUNDS)
    assert [number for number, *_ in found["rows"]["rounds"] if number] == list(range(1, ROUNDS + 1))
    return found


@pytest.mark.parametrize(
    ("point", "number"), [("training", 9), ("half a file", 12), ("before the commit", 5), ("the end", 1)]
)
def test_a_killed_trainer_leaves_a_job_that_ends_as_if_nothing_had_been(expected, tmp_path, point, number):
    assert killed_and_resumed(tmp_path, point, number) == expected


def test_a_killed_trainer_with_worker_processes_too(expected, tmp_path, monkeypatch):
    forked_workers(monkeypatch)  # the killed trainer, a process of its own, spawns its workers
    assert killed_and_resumed(tmp_path, "aggregation", 4, workers=2) == expected


def main(count: int) -> int:
    """Try so many moments; how many differ."""
    with tempfile.TemporaryDirectory() as folder:
        (whole := Path(folder) / "whole").mkdir()
        expected, wrong = uninterrupted(whole), 0
        for k, (point, number) in enumerate(moments(count)):
            (place := Path(folder) / str(k)).mkdir()
            same = killed_and_resumed(place, point, number) == expected
            wrong += not same
            sys.stdout.write(f"{k + 1}/{count} {point}, time {number}: {'same' if same else 'DIFFERENT'}\n")
    sys.stdout.write(f"{count - wrong} of {count} runs equal the uninterrupted one\n")
    return wrong


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
