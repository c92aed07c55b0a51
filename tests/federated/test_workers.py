"""Worker processes: the same bytes as one process, and an end in every case."""

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmem.errors import TrainingError
from fedmem.experiment import TrainingRun
from fedmem.federated.messages import Broadcast
from fedmem.federated.postprocessing import Postprocessor
from fedmem.federated.simulation import SimulatedPopulation
from fedmem.interruption import heeding
from tests.forks import Forked, forked_workers
from tests.tiny import (
    files_of,
    memories_of,
    noisy_parameters,
    numbers,
    population_of,
    tiny_config,
    tiny_dataset,
    tiny_snapshot,
    total,
    trained,
)
from tests.waiting import PATIENCE

LOCAL_ADAM = {
    "training": {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 4},
    "federated": {"local_epochs": 2},
}


@pytest.fixture(scope="module")
def two_workers() -> Iterator[SimulatedPopulation]:
    with pytest.MonkeyPatch.context() as patch:
        forked_workers(patch)
        population = population_of(tiny_snapshot(tiny_config(workers=2, **LOCAL_ADAM)))
    yield population
    population.close()


def broadcast_of(population: SimulatedPopulation) -> Broadcast:
    return Broadcast(3, noisy_parameters(population))


def test_a_run_of_two_workers_writes_the_bytes_of_one(tmp_path):
    """Four chunks a round: of two, the order of addition would not show."""
    for workers in (1, 2):
        config = tiny_config(workers=workers, federated={"client_fraction": 1.0})
        run = trained(tmp_path / str(workers), tiny_snapshot(config))
        run.close()
    one, two = files_of(tmp_path / "1"), files_of(tmp_path / "2")
    manifests = [files.pop("manifest.json") for files in (one, two)]
    assert manifests[1].replace(b'"workers": 2', b'"workers": 1') == manifests[0]
    assert one == two
    assert not list(tmp_path.rglob(".scratch-*"))


class Halved(Postprocessor):
    """Halves what one client sends, and adds noise."""

    def postprocess_one_client(self, update, rng):
        halved = {name: delta / 2 + rng.normal(size=delta.shape) for name, delta in update.delta.items()}
        return replace(update, delta=halved)


def test_postprocessed_updates_of_two_workers_are_those_of_one(two_workers):
    alone = population_of(tiny_snapshot(tiny_config(**LOCAL_ADAM)))
    users, broadcast = alone.dataset.trainable_users, broadcast_of(alone)
    one, two = (total(found.train(users, broadcast, [Halved()])) for found in (alone, two_workers))
    for name, delta in one.delta.items():
        assert np.array_equal(delta, two.delta[name]), name


def test_local_adam_too(two_workers):
    alone = population_of(tiny_snapshot(tiny_config(**LOCAL_ADAM)))
    users = alone.dataset.trainable_users
    broadcast = broadcast_of(alone)
    found, expected = (total(p.train(users, broadcast)) for p in (two_workers, alone))
    assert all(np.array_equal(found.delta[name], value) for name, value in expected.delta.items())
    assert numbers(found.metrics) == numbers(expected.metrics)
    memories, others = memories_of(two_workers, 4), memories_of(alone, 4)
    assert memories.keys() == others.keys()
    assert all(np.array_equal(memories[user].id_embedding, others[user].id_embedding) for user in others)
    assert list(two_workers.evaluate(broadcast, "validation")) == list(alone.evaluate(broadcast, "validation"))


def test_a_worker_that_dies_is_one_clear_error(two_workers):
    """Last of this fixture's tests: its workers are gone afterwards."""
    kill_workers(two_workers)
    with pytest.raises(TrainingError, match=r"lower federated\.chunk_size or workers and resume"):
        list(two_workers.train(two_workers.dataset.trainable_users, broadcast_of(two_workers)))


def test_a_worker_that_dies_within_its_answer_is_the_same_error(monkeypatch):
    forked_workers(monkeypatch)
    population = population_of(tiny_snapshot(tiny_config(workers=2, federated={"chunk_size": 1})))
    users = population.dataset.trainable_users
    answers = population.train(users, broadcast_of(population))
    next(iter(answers))
    kill_workers(population)
    os.write(population.workers._pool._result_queue._writer.fileno(), struct.pack("!i", 1000) + b"cut off")
    with pytest.raises(TrainingError, match=r"lower federated\.chunk_size or workers and resume"):
        list(answers)
    population.close()


def kill_workers(population: SimulatedPopulation) -> None:
    for pid in list(population.workers._pool._processes):
        os.kill(pid, signal.SIGKILL)


def no_worker_trains(population: SimulatedPopulation) -> bool:
    """Whether no chunk is with a worker, which would write into a round that is over."""
    items = list(population.workers._pool._pending_work_items.values())
    return not any(item.future.running() for item in items)


def test_stopped_within_a_round_and_then_killed_it_resumes_to_the_same_bytes(tmp_path, monkeypatch):
    """Twelve chunks a round, so that some are under way when it ends."""
    forked_workers(monkeypatch)
    config = tiny_config(federated={"client_fraction": 1.0, "chunk_size": 1, "num_rounds": 4})
    expected = files_of(trained(tmp_path / "whole", tiny_snapshot(config)).directory.path)
    run = TrainingRun.start(tmp_path / "run", tiny_snapshot(config.model_copy(update={"workers": 2})))
    told: list[int] = []  # of two rounds of 12 chunks and one group that evaluates, and of one chunk of the third
    list(run.rounds(stop=lambda: len(told) > 25, watch=lambda trained, selected: told.append(trained)))
    assert no_worker_trains(run.population)
    assert run.server.state.round == run.record.last == 2

    def lose(trained_clients: int, selected: int) -> None:
        if run.server.state.round == 3 and trained_clients == 1:
            kill_workers(run.population)

    with pytest.raises(TrainingError, match=r"lower federated\.chunk_size or workers and resume"):
        list(run.rounds(watch=lose))
    run.close()
    resumed = TrainingRun.resume(tmp_path / "run", config)
    assert resumed.server.state.round == 3
    list(resumed.rounds())
    resumed.finish()
    resumed.close()
    assert files_of(tmp_path / "run") == expected


class Stopped(Exception):
    """The stop that was asked for."""


@pytest.fixture
def asleep(tmp_path, monkeypatch) -> Iterator[SimulatedPopulation]:
    """A population of more than a pipe holds, 64 KiB, whose workers begin with a sleep, and read nothing meanwhile."""
    large = tiny_dataset(num_users=300, num_items=3_000)
    population = population_of(tiny_snapshot(tiny_config(workers=2), large))
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setattr("multiprocessing.spawn._python_exe", os.fsencode(python))
    yield population
    population.close()


def test_a_stop_is_heeded_while_workers_begin(asleep):
    def stop() -> None:
        raise Stopped

    with heeding(stop), pytest.raises(Stopped):
        list(asleep.train(asleep.dataset.trainable_users, broadcast_of(asleep)))


def test_a_run_that_ends_does_not_wait_for_workers_that_begin(asleep):
    """As where it is stopped while one of them has answered and another has its libraries to import."""
    waited = asleep.workers._pool.submit(abs, 1)
    workers = [*asleep.workers._pool._processes.values()]
    asleep.close()
    with pytest.raises(BrokenProcessPool):
        waited.result()
    assert [worker.exitcode for worker in workers] == [-signal.SIGKILL]


PARENT = """
import sys
from tests.tiny import population_of, tiny_config, tiny_snapshot
from tests.federated.test_workers import broadcast_of

if __name__ == "__main__":
    population = population_of(tiny_snapshot(tiny_config(workers=2)))
    list(population.train(population.dataset.trainable_users, broadcast_of(population)))
    print(*population.workers._pool._processes, flush=True)
    sys.stdin.read()
"""


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    root = str(Path(__file__).parents[2])
    process = Forked(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root, "TMPDIR": str(tmp_path)},
    )
    with process:
        workers = [int(pid) for pid in process.stdout.readline().split()]
        assert len(workers) == 2
        process.kill()
        process.wait()
    deadline = time.monotonic() + PATIENCE
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlives its parent"
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # there may be no process to reap it


def test_a_killed_run_leaves_no_working_files_to_the_next(tmp_path):
    run = TrainingRun.start(tmp_path / "run", tiny_snapshot())
    stale = tmp_path / "run" / ".scratch-of-a-killed-one"
    stale.mkdir()
    run.close()
    TrainingRun.resume(tmp_path / "run", tiny_config()).close()
    assert not list((tmp_path / "run").glob(".scratch-*"))
