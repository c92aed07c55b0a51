"""A round that is stopped halfway is as if it had never begun."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest

from fedmem.data.client_dataset import ClientDataset
from fedmem.experiment import TrainingRun
from fedmem.federated import simulation
from fedmem.federated.scoring import ModelScorer
from fedmem.federated.server import FedMemServer
from fedmem.federated.several_steps import SeveralSteps
from fedmem.federated.start import initial_state
from tests.tiny import files_of, memories_of, population_of, tiny_config, tiny_snapshot, trained

# Twelve users by threes: a round of all of them is four chunks.
ALL_CLIENTS = {"federated": {"client_fraction": 1.0, "num_rounds": 3}}
POOLED = {"federated": {"client_fraction": 1.0, "num_rounds": 3, "centralised_batch": 6}}


def server_of(**changes) -> FedMemServer:
    snapshot = tiny_snapshot(tiny_config(**changes))
    population = population_of(snapshot)
    state = initial_state(snapshot.config, population.model, snapshot.features)
    return FedMemServer(snapshot.config, snapshot.dataset.trainable_users, population, state)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("changes", [ALL_CLIENTS, POOLED])
def test_progress_is_told_after_every_chunk(changes):
    told: list[tuple[int, int]] = []
    server_of(**changes).run_round(lambda trained, selected: told.append((trained, selected)))
    assert told == [(3, 12), (6, 12), (9, 12), (12, 12)]


@pytest.mark.parametrize("changes", [ALL_CLIENTS, POOLED])
@pytest.mark.parametrize("chunks", [1, 3, 4])
def test_an_abandoned_round_leaves_state_and_memories_as_they_were(changes, chunks):
    server = server_of(**changes)
    server.run_round()
    server.run_round()
    before, memories = server.state, memories_of(server.population, 2)
    assert memories

    def watch(trained: int, selected: int) -> None:
        if trained == 3 * chunks:
            raise Interrupted

    with pytest.raises(Interrupted):
        server.run_round(watch)
    assert server.state is before
    after = memories_of(server.population, 2)
    assert after.keys() == memories.keys()
    for user, entries in memories.items():
        assert all(np.array_equal(getattr(after[user], name), values) for name, values in vars(entries).items())


def stop_after(times: int):
    asked = count(1)
    return lambda: next(asked) > times


# As much as can be put between two looks: one chunk of all, ten thousand epochs, batches of one.
HOURS = {
    "training": {"batch_size": 1},
    "federated": {"client_fraction": 1.0, "chunk_size": 100, "local_epochs": 10_000},
}


ENOUGH = 20  # times that what was to end is done: whoever does not heed the stop by then does not


class Stop:
    """A wish that comes at the ``times``-th time that something is done, and what is done after it."""

    def __init__(self, monkeypatch, owner: type, name: str, times: int) -> None:
        self.done, self.times, do = 0, times, getattr(owner, name)

        def counted(*arguments, **named):
            self.done += 1
            assert self.after <= ENOUGH, "it goes on after the stop, for hours"
            return do(*arguments, **named)

        monkeypatch.setattr(owner, name, counted)

    def __call__(self) -> bool:
        return self.done >= self.times

    @property
    def after(self) -> int:
        return self.done - self.times


# A loss of drawn negatives draws all steps before it takes the first.
@pytest.mark.parametrize(
    ("loss", "owner", "name"), [("full_softmax", SeveralSteps, "_step"), ("bpr", ClientDataset, "negatives")]
)
def test_no_local_step_begins_after_a_stop_whatever_the_settings(tmp_path: Path, monkeypatch, loss, owner, name):
    config = tiny_config(**HOURS | {"training": {"batch_size": 1, "loss": loss}})
    run = TrainingRun.start(tmp_path / "run", tiny_snapshot(config))
    stop = Stop(monkeypatch, owner, name, 5)
    assert list(run.rounds(stop)) == []
    assert (stop.after, run.server.state.round) == (0, 0)
    run.close()


def test_no_group_of_clients_is_scored_after_a_stop_in_validation(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(simulation, "EVALUATED_TOGETHER", 3)
    config = tiny_config(federated={"client_fraction": 1.0}, evaluation={"eval_every": 1})
    run = TrainingRun.start(tmp_path / "run", tiny_snapshot(config))
    stop = Stop(monkeypatch, ModelScorer, "queries", 2)
    assert list(run.rounds(stop)) == []
    assert (stop.after, run.server.state.round) == (0, 0)
    run.close()


@pytest.mark.parametrize("changes", [ALL_CLIENTS, POOLED])
@pytest.mark.parametrize("asked", [0, 1, 60, 300, 700])
def test_stopped_at_any_moment_and_resumed_gives_the_same_bytes(tmp_path: Path, changes, asked):
    config = tiny_config(**changes)
    expected = files_of(trained(tmp_path / "whole", tiny_snapshot(config)).directory.path)
    run = TrainingRun.start(tmp_path / "run", tiny_snapshot(config))
    list(run.rounds(stop_after(asked)))
    assert run.server.state.round < 3
    run.close()
    resumed = TrainingRun.resume(tmp_path / "run", config)
    list(resumed.rounds())
    resumed.finish()
    resumed.close()
    assert files_of(tmp_path / "run") == expected
