"""The transition memory's weight after short histories: asked for, chosen apart, read wherever scores are, kept."""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmem.checkpoint import Checkpoint
from fedmem.checkpoint.records import StoredServer, server_arrays, server_record, server_state
from fedmem.evaluation.evaluate import ranks_of_several
from fedmem.evaluation.metric_table import MetricSums, Moments, metric_values
from fedmem.experiment import TrainingRun
from fedmem.federated import round as round_module
from fedmem.federated.client_host import ClientScorer
from fedmem.federated.messages import Broadcast
from fedmem.federated.parameters import load_parameters, twin
from fedmem.federated.round import better_than, validated
from fedmem.federated.scoring import ModelScorer, Strengths, UserContext
from fedmem.federated.server_optimizers import OptimizerState
from fedmem.federated.state import RoundReport, ServerState
from fedmem.memory.transitions import TransitionCounts, TransitionTable
from fedmem.nodes.wire import broadcast_letter, broadcast_of, check_metrics, metrics_letter, metrics_of
from fedmem.serving import Recommender
from tests.tiny import noisy_parameters, population_of, tiny_config, tiny_dataset, tiny_snapshot, total, trained

STRENGTHS = (0.0, 0.5, 3.0)


@pytest.fixture(scope="module")
def population():
    config = tiny_config(transitions={"strengths": STRENGTHS}, ablation={"disable_moe": True})
    return population_of(tiny_snapshot(config))


@pytest.fixture(scope="module")
def asked(population) -> Broadcast:
    data, config = population.dataset, population.config.transitions
    histories = [data.client(user).history for user in data.trainable_users.tolist()]
    table = TransitionTable.of(TransitionCounts.of(histories, data.num_items, config.window), config)
    return Broadcast(2, noisy_parameters(population), transitions=table, strengths=STRENGTHS)


@pytest.mark.parametrize(("length", "found"), [(0, 0.2), (1, 1.5), (2, 0.7), (3, 0.7), (4, 0.2), (90, 0.2)])
def test_a_length_has_the_weight_of_the_next_longer_one(length, found):
    """Without any history popularity answers, which a weight of 0 would silence."""
    history = np.arange(1, length + 1)
    assert Strengths(0.2, {3: 0.7, 1: 1.5}).after(history) == found
    assert Strengths(0.2).after(history) == 0.2
    assert Strengths(0.0, {3: 0.7, 1: 1.5}).after(history) == 0.0


def test_clients_cut_their_histories_to_what_is_asked_for(population, asked):
    found = total(population.evaluate(replace(asked, short_histories=(1, 3)), "validation"))
    whole = total(population.evaluate(asked, "validation"))
    assert (found.moments, found.fused, whole.short) == (whole.moments, whole.fused, {})
    assert {length: list(by_strength) for length, by_strength in found.short.items()} == {
        1: list(STRENGTHS),
        3: list(STRENGTHS),
    }
    contexts = dict.fromkeys(population.dataset.evaluated_users.tolist(), UserContext())
    model = twin(population.model)
    load_parameters(model, asked.parameters)
    scorer = ClientScorer(
        ModelScorer(model, None, transitions=asked.transitions), contexts, [Strengths(s) for s in STRENGTHS]
    )
    for length, by_strength in found.short.items():
        ranks = ranks_of_several(population.dataset, scorer, "validation", population.dataset.evaluated_users, length)
        for of_one, moments in zip(ranks, by_strength.values(), strict=True):
            assert moments.mean == pytest.approx(metric_values("NDCG@10", of_one).mean())
    assert found.short[1] != found.short[3]


def test_an_evaluation_reads_each_length_with_its_weight(population, asked):
    plain = total(population.evaluate(replace(asked, strengths=(3.0,)), "test"))
    all_short = total(population.evaluate(replace(asked, strengths=(0.5,), short_strengths={1000: 3.0}), "test"))
    assert all_short.fused[0.5] == plain.fused[3.0]
    none_short = total(population.evaluate(replace(asked, strengths=(3.0,), short_strengths={1: 0.5}), "test"))
    assert none_short.fused == plain.fused
    assert all_short.moments == plain.moments


class Scripted:
    """Clients by whom each length has a best weight of its own."""

    def __init__(self, best: Mapping[int | None, float]) -> None:
        self.best = best

    def evaluate(self, broadcast, split, session=None):
        def moments(length: int | None, strength: float) -> Moments:
            return Moments(100.0 - abs(strength - self.best[length]), 100.0, 100)

        def sums(strength: float) -> MetricSums:
            return MetricSums({name: moments(None, strength) for name in ("HR@10", "NDCG@10")})

        short = {n: {s: moments(n, s) for s in broadcast.strengths} for n in broadcast.short_histories}
        yield MetricSums(sums(0.0).moments, {s: sums(s) for s in broadcast.strengths if s}, short)


def test_each_length_gets_the_weight_that_is_best_for_it(population, asked):
    config = tiny_config(transitions={"strengths": STRENGTHS, "short_histories": [1, 4]})
    counts = TransitionCounts.of([np.array([1, 2, 3])], 30, 10)
    start = {"w": np.zeros(1)}
    state = ServerState(1, start, start, None, transitions=counts)  # type: ignore[arg-type]
    best: dict[int | None, float] = {None: 0.5, 1: 3.0, 4: 0.0}
    after, report = validated(config, state, RoundReport(1, {}), Scripted(best), (), lambda: None)  # type: ignore[arg-type]
    assert (after.strength, after.short_strengths) == (0.5, {1: 3.0, 4: 0.0})
    told = {name: value for name, value in report.metrics.items() if name.startswith("transition_strength")}
    assert told == {
        "transition_strength": 0.5,
        "transition_strength_up_to_1": 3.0,
        "transition_strength_up_to_4": 0.0,
    }


@pytest.mark.parametrize(("better", "chosen"), [(0.01, 0.5), (0.02, 3.0)])
def test_another_weight_has_to_be_better_by_a_quarter_of_a_standard_error(better, chosen):
    """Of 100 users with a gain of 0 or 1 each, half of them 1: an error of .05."""
    found = {0.0: Moments(40.0, 40.0, 100), 0.5: Moments(50.0, 50.0, 100)}
    total = 100 * (0.5 + better)
    assert better_than(0.5, found | {3.0: Moments(total, total, 100)}) == chosen
    assert better_than(3.0, {3.0: Moments(0.0, 0.0, 1), 0.5: Moments(1.0, 1.0, 1)}) == 3.0, "one user says nothing"


def test_without_a_general_weight_there_is_none_for_short_histories(asked):
    config = tiny_config(transitions={"strengths": STRENGTHS, "short_histories": [1]})
    counts, start = TransitionCounts.of([np.array([1, 2, 3])], 30, 10), {"w": np.zeros(1)}
    state = ServerState(1, start, start, None, transitions=counts)  # type: ignore[arg-type]
    after, _ = validated(config, state, RoundReport(1, {}), Scripted({None: 0.0, 1: 3.0}), (), lambda: None)  # type: ignore[arg-type]
    assert (after.strength, after.short_strengths) == (0.0, {})


def test_cut_histories_are_those_of_new_users_who_have_no_memory():
    config = tiny_config(transitions={"strengths": STRENGTHS})
    population = population_of(tiny_snapshot(config))
    clients, start = population.dataset.trainable_users, Broadcast(0, noisy_parameters(population))
    sums = total(population.train(clients, replace(start, round=3)))
    table = TransitionTable.of(sums.transitions, config.transitions)
    asked = replace(start, round=4, transitions=table, strengths=(0.5,), short_histories=(3,))
    remembered = total(population.evaluate(asked, "validation"))
    forgotten = total(population.evaluate(replace(asked, round=0), "validation"))
    assert remembered.moments != forgotten.moments, "memories are read"
    assert remembered.short == forgotten.short


def test_a_checkpoint_keeps_them_and_one_of_before_has_none():
    run_state = ServerState(1, {}, {}, None, strength=0.5, short_strengths={1: 3.0, 4: 0.0})  # type: ignore[arg-type]
    record = {"memory_files": 0} | _record(run_state)
    found = server_state({}, json.loads(json.dumps(record)))
    assert found.short_strengths == {1: 3.0, 4: 0.0}
    before = {name: value for name, value in record.items() if name != "short_strengths"}
    assert StoredServer.of(before).short_strengths == {}
    assert "short_strengths" not in _record(replace(run_state, short_strengths={}))


def _record(state: ServerState) -> dict:
    state = replace(state, optimizer=OptimizerState({}, {}, 1))
    assert server_arrays(state) == {}
    return server_record(state)


def test_what_is_served_is_what_was_tested_and_otherwise_than_with_one_weight(tmp_path: Path):
    """Most of these users have few interactions, and are answered with a weight of their own."""
    config = tiny_config(transitions={"strengths": STRENGTHS, "short_histories": [10]})
    run = trained(tmp_path / "run", tiny_snapshot(config, tiny_dataset(60, seed=2, shortest=5, longest=12)))
    run.server.state = replace(run.server.state, strength=0.5, short_strengths={10: 3.0})
    checkpoint = replace(run.directory.checkpoints.read(run.record.best), server=run.server.state)
    expected = run.server.evaluate_global_model("test").mean("NDCG@10")

    def served(checkpoint: Checkpoint) -> float:
        recommender = Recommender.of(run.snapshot, checkpoint, "served")
        users = recommender.dataset.evaluated_users
        contexts = {user: recommender.context(user, None) for user in users.tolist()}
        scorer = ClientScorer(recommender.scorer, contexts, [recommender.scorer.strengths])
        (ranks,) = ranks_of_several(recommender.dataset, scorer, "test", users)
        return float(metric_values("NDCG@10", ranks).mean())

    assert served(checkpoint) == pytest.approx(expected)
    with_one = replace(checkpoint, server=replace(run.server.state, short_strengths={}))
    assert served(with_one) != pytest.approx(expected, abs=1e-3)


def test_resumed_it_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(round_module, "better_than", lambda general, found: 3.0)
    config = tiny_config(transitions={"strengths": (0.5,), "short_histories": [3]})
    trained(tmp_path / "run", tiny_snapshot(config))
    with closing(TrainingRun.resume(tmp_path / "run", config)) as again:
        again.restore(again.record.best)
        assert again.server.state.short_strengths == {3: 3.0}


def test_a_budget_for_metrics_leaves_them_out():
    budget = {"privacy": {"weights_epsilon": 8, "metrics_epsilon": 2}, "ablation": {"disable_moe": True}}
    assert tiny_config(**budget).cut_histories == ()
    assert tiny_config().cut_histories == (1, 3, 10)
    assert tiny_config(transitions={"strengths": [0.0]}).cut_histories == ()


def test_they_cross_to_nodes_and_back(population, asked):
    sent = replace(asked, short_strengths={1: 0.5, 10: 3.0}, short_histories=(1, 10))
    found = broadcast_of(broadcast_letter(sent), population.config.transitions)
    assert (found.short_strengths, found.short_histories) == (sent.short_strengths, sent.short_histories)
    sums = total(population.evaluate(found, "validation"))
    told = metrics_of(metrics_letter(sums))
    assert told == sums
    check_metrics(told, sent, told.count)


@pytest.mark.parametrize("short", [{}, {1: {0.5: 12}}, {1: {0.0: 12, 0.5: 12, 3.0: 11}}])
def test_a_node_that_measures_something_else_is_refused(asked, short):
    sums = MetricSums.of(np.ones(12))
    fused = {strength: sums for strength in STRENGTHS if strength}
    wrong = {n: {s: Moments(0.0, 0.0, users) for s, users in found.items()} for n, found in short.items()}
    with pytest.raises(ValueError, match="short histories"):
        check_metrics(replace(sums, fused=fused, short=wrong), replace(asked, short_histories=(1,)), 12)
