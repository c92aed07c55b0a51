"""Postprocessors: what clients send and what sums are can be changed, in one place, reproducibly."""

from dataclasses import replace

import numpy as np
import pytest

from fedmem.federated.chunk_trainer import ChunkTrainer
from fedmem.federated.messages import ClientUpdate, Mean, UpdateSum
from fedmem.federated.postprocessing import (
    Postprocessor,
    Postprocessors,
    needs_single_clients,
    postprocessed_sum,
    postprocessed_update,
)
from fedmem.federated.server import FedMemServer
from fedmem.federated.start import initial_state
from tests.tiny import population_of, tiny_config, tiny_snapshot

RNG = np.random.default_rng(0)


class Scaled(Postprocessor):
    """Multiplies what one client sends."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def postprocess_one_client(self, update, rng):
        return replace(update, delta={name: self.factor * delta for name, delta in update.delta.items()})


class Shifted(Postprocessor):
    """Adds to what one client sends."""

    def postprocess_one_client(self, update, rng):
        return replace(update, delta={name: delta + 1 for name, delta in update.delta.items()})


class NoisySum(Postprocessor):
    """Adds noise to the sum over the cohort."""

    def __init__(self) -> None:
        self.seen: list[UpdateSum] = []

    def postprocess_sum(self, total, rng):
        self.seen.append(total)
        return replace(total, delta={name: delta + rng.normal(size=delta.shape) for name, delta in total.delta.items()})


class FalseMetrics(Postprocessor):
    """Makes other metrics of the sums of training and of evaluations."""

    def postprocess_sum(self, total, rng):
        return replace(total, metrics={**total.metrics, "recommendation_loss": Mean(6.0, 2.0)})

    def postprocess_metrics(self, total, rng):
        return replace(
            total, moments={name: replace(m, total=m.count * rng.random()) for name, m in total.moments.items()}
        )


class Draws(Postprocessor):
    """Notes the first number that each client's generator gives."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def postprocess_one_client(self, update, rng):
        self.seen.append(rng.random())
        return update


def server_of(postprocessors: Postprocessors, **changes) -> FedMemServer:
    snapshot = tiny_snapshot(tiny_config(**changes))
    population = population_of(snapshot)
    state = initial_state(snapshot.config, population.model, snapshot.features)
    return FedMemServer(snapshot.config, snapshot.dataset.trainable_users, population, state, postprocessors)


def test_a_chain_is_applied_in_order():
    update = ClientUpdate(1, {"w": np.array([2.0])})
    assert postprocessed_update([Scaled(3), Shifted()], update, RNG).delta["w"].tolist() == [7.0]
    assert postprocessed_update([Shifted(), Scaled(3)], update, RNG).delta["w"].tolist() == [9.0]
    total = UpdateSum({"w": np.array([2.0])}, 1.0)
    assert postprocessed_sum([Scaled(3), Shifted()], total, RNG) is total
    assert postprocessed_update([NoisySum()], update, RNG) is update


def test_single_clients_are_needed_where_that_hook_is_overridden():
    assert not needs_single_clients([])
    assert not needs_single_clients([Postprocessor(), NoisySum()])
    assert needs_single_clients([NoisySum(), Scaled(1.0)])


CHANGES = [{}, {"training": {"batch_size": 4, "learning_rate": 0.01}}]


@pytest.mark.parametrize("changes", CHANGES, ids=["FedSGD", "several steps"])
def test_no_sum_is_made_before_each_client_was_looked_at(changes, monkeypatch):
    def participate(self, chunk, broadcast):
        raise AssertionError("a chunk was added up as it was trained")

    monkeypatch.setattr(ChunkTrainer, "participate", participate)
    draws = Draws()
    report = server_of([draws], **changes).run_round()
    assert len(draws.seen) == report.metrics["clients"] == 6
    with pytest.raises(AssertionError, match="added up"):
        server_of([NoisySum()], **changes).run_round()


@pytest.mark.parametrize("changes", CHANGES, ids=["FedSGD", "several steps"])
def test_what_clients_send_is_what_the_server_applies(changes):
    """Nothing sent moves nothing, and the server's plain mean of doubled updates moves twice as far."""
    plain = {"federated": {"server_optimizer": "none", "server_learning_rate": 1.0, "server_warmup_steps": 0}}
    moved = []
    for factor in (0.0, 1.0, 2.0):
        server = server_of([Scaled(factor)], **changes, **plain)
        before = server.state.parameters
        server.run_round()
        moved.append({name: value - before[name] for name, value in server.state.parameters.items()})
    assert not any(delta.any() for delta in moved[0].values())
    for name, delta in moved[1].items():
        np.testing.assert_allclose(moved[2][name], 2 * delta, rtol=1e-3, atol=1e-6)
    assert any(delta.any() for delta in moved[1].values())


def test_the_sum_is_postprocessed_once_an_aggregation():
    noise = NoisySum()
    server_of([noise], federated={"client_fraction": 1.0}).run_round()
    assert [total.clients for total in noise.seen] == [12]
    pooled = NoisySum()
    server_of([pooled], federated={"client_fraction": 1.0, "centralised_batch": 5}).run_round()
    assert [total.clients for total in pooled.seen] == [6, 6]


def test_noise_is_a_function_of_seed_round_and_client():
    def drawn(seed: int = 1, rounds: int = 1, chunk_size: int = 3) -> list[float]:
        draws = Draws()
        server = server_of([draws], seed=seed, federated={"client_fraction": 1.0, "chunk_size": chunk_size})
        for _ in range(rounds):
            server.run_round()
        return draws.seen

    assert len(set(drawn(rounds=2))) == 24
    assert drawn(rounds=2)[:12] == drawn() == drawn(chunk_size=5)
    assert not set(drawn()) & set(drawn(seed=2))


def test_noise_on_sums_is_a_function_of_seed_and_step():
    def after(rounds: int, seed: int = 1) -> bytes:
        server = server_of([NoisySum()], seed=seed)
        for _ in range(rounds):
            server.run_round()
        return server.state.optimizer.first["sasrec.position_embedding"].tobytes()

    assert after(2) == after(2)
    assert len({after(1), after(2), after(2, seed=2)}) == 3


def test_what_is_reported_is_what_the_postprocessed_sums_say():
    def reported(postprocessors):
        server = server_of(postprocessors, evaluation={"eval_every": 1})
        report = server.run_round()
        return server, report

    server, report = reported([FalseMetrics()])
    assert report.metrics["recommendation_loss"] == 3.0
    assert report.validation.mean("NDCG@10") == server.state.best_metric
    assert report.validation.values == reported([FalseMetrics()])[1].validation.values
    plain = reported([])[1]
    assert plain.metrics["recommendation_loss"] != 3.0
    for split in ("validation", "test"):
        table = server.evaluate_global_model(split)
        assert all(table.mean(name) != plain.validation.mean(name) for name in table.values)
    assert server.evaluate_global_model("validation").values == report.validation.values
    assert server.evaluate_global_model("test").mean("MRR") != report.validation.mean("MRR")
