"""Ray's actors: the same bits as one process, whatever their number, and though one is killed within a round."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmem.config import ExperimentConfig
from fedmem.errors import NodesAwayError
from fedmem.experiment import TrainingRun
from fedmem.federated.messages import Broadcast, MetricSums, UpdateSum
from fedmem.federated.ray_cluster import Cluster
from fedmem.federated.simulation import SimulatedPopulation
from tests.tiny import files_of, noisy_parameters, population_of, tiny_config, tiny_snapshot, trained

pytestmark = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is not installed: .venv/bin/pip install -c constraints.txt -e '.[ray]'"
)

# Two chunks of each of three shards: with fewer the order of addition would not show.
SHARDS = {"shards": 3, "chunk_size": 2, "client_fraction": 1.0, "num_rounds": 5}


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[Any]:
    """One for all tests, because each takes seconds to start; two actors are kept beside those of the last test."""
    cluster = Cluster(4)
    yield cluster.ray
    cluster.end()


def over_ray(actors: int, **changes: Any) -> ExperimentConfig:
    return tiny_config(engine="ray", workers=actors, federated=SHARDS, **changes)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What five rounds in one process write: parameters, memories, transitions, prototypes, metrics and the test's."""
    path = tmp_path_factory.mktemp("simulated")
    trained(path, tiny_snapshot(tiny_config(federated=SHARDS))).close()
    return written(path)


def written(path: Path) -> dict[str, bytes]:
    files = files_of(path)
    del files["manifest.json"]  # which names the engine
    return files


def to_the_end(run: TrainingRun, **watched: Any) -> None:
    with closing(run):
        list(run.rounds(**watched))
        run.finish()


def asked(ray: Any, population: SimulatedPopulation, number: int, question: Callable[[Any], Any]) -> Any:
    return ray.get(population.workers._actors[number].__ray_call__.remote(question))


def process_of(ray: Any, population: SimulatedPopulation, number: int) -> int:
    return asked(ray, population, number, lambda holder: os.getpid())


@pytest.mark.parametrize("actors", [1, 2, 3])
def test_five_rounds_write_the_bytes_of_the_simulation(actors, simulated, tmp_path):
    to_the_end(TrainingRun.start(tmp_path, tiny_snapshot(over_ray(actors))))
    assert written(tmp_path) == simulated
    assert not list(tmp_path.rglob(".scratch-*"))


def test_an_actor_that_is_killed_within_a_round_changes_nothing(ray, simulated, tmp_path):
    run = TrainingRun.start(tmp_path, tiny_snapshot(over_ray(2)))
    killed: list[int] = []

    def kill(trained_clients: int, selected: int) -> None:
        if run.server.state.round == 2 and not killed:
            killed.append(process_of(ray, run.population, 1))
            os.kill(killed[0], signal.SIGKILL)
        if run.server.state.round == 4:
            assert process_of(ray, run.population, 1) != killed[0]

    to_the_end(run, watch=kill)
    assert killed
    assert written(tmp_path) == simulated


def test_stopped_within_a_round_it_is_resumed_in_one_process_and_back(simulated, tmp_path):
    """Checkpoints hold the memories of all actors, and give each its own, though there are others now."""
    run, told = TrainingRun.start(tmp_path, tiny_snapshot(over_ray(2))), []
    with closing(run):
        list(run.rounds(stop=lambda: len(told) > 8, watch=lambda trained, selected: told.append(trained)))
        assert run.record.last == 1
    with closing(TrainingRun.resume(tmp_path, tiny_config(federated=SHARDS | {"num_rounds": 3}))) as run:
        list(run.rounds())
    to_the_end(TrainingRun.resume(tmp_path, over_ray(1)))
    assert written(tmp_path) == simulated


def test_an_actor_that_finds_no_memories_is_an_error_and_the_run_resumes_from_its_checkpoint(ray, simulated, tmp_path):
    """As one does that is started again on another machine."""
    run = TrainingRun.start(tmp_path, tiny_snapshot(over_ray(2)))

    def lose(trained_clients: int, selected: int) -> None:
        for path in tmp_path.glob(".scratch-*/memories.0") if run.server.state.round == 3 else ():
            path.unlink()
            os.kill(process_of(ray, run.population, 0), signal.SIGKILL)

    with (
        closing(run),
        pytest.raises(NodesAwayError, match="a Ray actor is lost, and what its clients remember with it"),
    ):
        list(run.rounds(watch=lose))
    to_the_end(TrainingRun.resume(tmp_path, tiny_config(federated=SHARDS)))
    assert written(tmp_path) == simulated


@pytest.fixture(scope="module")
def population() -> Iterator[SimulatedPopulation]:
    with closing(population_of(tiny_snapshot(over_ray(2)))) as found:
        yield found


def test_an_actor_has_no_history_and_no_text_of_others_clients(ray, population):
    """Of three shards the first actor holds two, the first and the last."""
    for number in range(2):
        lengths = asked(ray, population, number, lambda holder: holder.host.dataset.lengths)
        texts = asked(ray, population, number, lambda holder: holder.host.user_features)
        own = np.flatnonzero(np.arange(12) % 3 % 2 == number)
        assert np.flatnonzero(lengths).tolist() == own.tolist()
        assert np.flatnonzero(texts.mask).tolist() == [user for user in own if user % 3]


def test_nothing_comes_back_but_messages(population):
    broadcast = Broadcast(3, noisy_parameters(population))
    updates = list(population.train(population.dataset.trainable_users, broadcast))
    assert {type(one) for one in updates} == {UpdateSum}
    assert all(delta.flags.writeable for one in updates for delta in one.delta.values())
    assert {type(one) for one in population.evaluate(broadcast, "validation")} == {MetricSums}


def test_secure_sums_are_those_of_the_simulation(tmp_path):
    secure = {"secure_sums": {"enabled": True, "minimum_cohort": 2, "neighbours": 4}}
    for name, config in (("one", tiny_config(federated=SHARDS, **secure)), ("ray", over_ray(2, **secure))):
        config = config.model_copy(update={"federated": config.federated.model_copy(update={"num_rounds": 2})})
        to_the_end(TrainingRun.start(tmp_path / name, tiny_snapshot(config)))
    assert written(tmp_path / "ray") == written(tmp_path / "one")
