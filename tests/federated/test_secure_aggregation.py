"""Runs with secure sums: their figures are those without, to fixed point; the server reads nothing but sums."""

import numpy as np
import pytest

from fedmem.errors import ConfigError, TrainingError
from fedmem.experiment import TrainingRun
from fedmem.federated import encodings
from fedmem.federated import round as rounds
from fedmem.federated.messages import MaskedSum
from fedmem.federated.secure_aggregation import handing_on
from fedmem.federated.server import FedMemServer
from fedmem.federated.start import initial_state
from fedmem.memory.count_sketch import sketched
from fedmem.memory.transitions import TransitionCounts
from fedmem.snapshot import take_snapshot
from tests.tiny import files_of, population_of, tiny_config, tiny_dataset, tiny_snapshot, trained

SECURE = {"enabled": True, "minimum_cohort": 4, "neighbours": 4}


def secure_config(**changes):
    return tiny_config(**{"secure_sums": SECURE, **changes})


def server_of(config):
    snapshot = tiny_snapshot(config)
    population = population_of(snapshot)
    state = initial_state(config, population.model, snapshot.features)
    return FedMemServer(config, snapshot.dataset.trainable_users, population, state)


def rounds_of(config, count=2):
    server = server_of(config)
    return server, [server.run_round() for _ in range(count)]


CONFIGURATIONS = {
    "FedSGD": {},
    "64 bits": {"secure_sums": {**SECURE, "bits": 64}},
    "several steps, rows that were touched": {
        "training": {"batch_size": 12, "learning_rate": 0.01, "loss": "bpr"},
        "federated": {"row_normalisation": True},
    },
    "sampled softmax": {"training": {"loss": "sampled_softmax"}},
}


# Adam would make much of the last bits of small gradients.
AVERAGED = {"server_optimizer": "none", "server_learning_rate": 0.5, "server_averaging": 0.0}


@pytest.mark.parametrize("changes", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_a_run_has_the_figures_of_one_without_to_fixed_point(changes):
    changes = {**changes, "federated": {**AVERAGED, **changes.get("federated", {})}}
    server, reports = rounds_of(secure_config(**changes))
    plain, expected = rounds_of(secure_config(**{**changes, "secure_sums": {"enabled": False}}))
    assert reports[0].metrics.pop("clipped_parameters") == 0
    for name, values in plain.state.parameters.items():
        np.testing.assert_allclose(server.state.parameters[name], values, atol=1e-4, err_msg=name)
    for name, value in expected[0].metrics.items():
        if "bytes" not in name:
            assert reports[0].metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    validation, without = reports[1].without_transitions, expected[1].without_transitions
    assert validation.num_users == without.num_users
    for name, (mean, error) in without.values.items():
        assert validation.values[name] == pytest.approx((mean, error), abs=1e-6), name


def test_transitions_are_those_of_the_plain_sum_to_the_last_count():
    server, _ = rounds_of(secure_config(), 6)
    plain, _ = rounds_of(tiny_config(), 6)
    before, after = plain.state.transitions, server.state.transitions
    everything = server.population.having_transitions(server.state.round)
    assert not len(everything)
    assert after.taken.sum() == server.population.dataset.training_lengths.sum()
    rest = plain.population.having_transitions(plain.state.round)
    missing = plain.population.host.chunk(rest, plain.state.round)
    if len(rest):
        before = before + missing.new_transitions(10)
    assert (before.pairs != after.pairs).nnz == 0
    assert np.array_equal(before.taken, after.taken)


def test_cells_of_a_sketch_are_masked_and_their_sum_is_that_of_plain_runs_to_the_last_count():
    transitions = {"sketch_bits": 6, "sketch_rows": 3}
    server, _ = rounds_of(secure_config(transitions=transitions), 6)
    assert not len(server.population.having_transitions(server.state.round))
    data, found = server.population.dataset, server.state.transitions
    histories = [data.training_history(user) for user in range(data.num_users)]
    expected = sketched(TransitionCounts.of(histories, data.num_items, 10), server.config.transitions)
    assert found.pairs.shape == (3, 64)
    assert (found.pairs.data < 0).any()
    assert (found.pairs != expected.pairs).nnz == 0
    assert np.array_equal(found.taken, expected.taken)


def test_a_sketch_is_masked_of_more_items_than_whose_pairs_are_and_its_cells_are_what_crosses(monkeypatch):
    monkeypatch.setattr(encodings, "MOST_ITEMS", 5)
    with pytest.raises(ConfigError, match=r"5 items at most. Set transitions.sketch_bits, or ablation"):
        server_of(secure_config())
    server, reports = rounds_of(secure_config(transitions={"sketch_bits": 6, "sketch_rows": 3}), 1)
    words = 3 * 64 + server.population.dataset.num_items + 1
    assert 0 <= reports[0].metrics["bytes_up_transitions"] - 4 * words < 1_000, "shares and keys beside them"
    assert "transition_pairs" not in reports[0].metrics, "which no cell tells"


def test_the_same_bits_with_workers_and_after_a_resume(tmp_path):
    whole = trained(tmp_path / "whole", tiny_snapshot(secure_config(federated={"num_rounds": 4})))
    begun = TrainingRun.start(tmp_path / "parts", tiny_snapshot(secure_config(federated={"num_rounds": 4})))
    for report in begun.rounds():
        if report.round == 2:
            break
    begun.recorder.flush(begun.server.state, begun.population)
    begun.close()
    config = secure_config(federated={"num_rounds": 4}, workers=2)
    resumed = TrainingRun.resume(tmp_path / "parts", config)
    for _ in resumed.rounds():
        pass
    resumed.finish()
    resumed.close()
    parts, expected = files_of(tmp_path / "parts"), files_of(whole.directory.path)
    assert {n for n, data in expected.items() if data != parts[n]} <= {"manifest.json"}  # which names the workers


def test_the_server_gets_masked_words_and_a_last_sum(monkeypatch):
    """What a chunk sends reads as noise, whatever was trained."""
    server, sent = server_of(secure_config()), []
    monkeypatch.setattr(rounds, "added", lambda parts, after: _kept(parts, sent, after))
    server.run_round()
    assert {type(each) for each in sent} == {MaskedSum}
    updates = [each for each in sent if len(each.lanes) == 2]
    assert [each.clients for each in updates] == [3, 3]
    for each in updates:
        bits = np.unpackbits(each.lanes[0].view(np.uint8))
        assert abs(bits.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(bits))


def _kept(parts, sent, after):
    total = None
    for part in parts:
        sent.append(part)
        total = part if total is None else total + part
        after(part)
    return total


def test_what_secure_sums_cost_is_in_the_ledger():
    server, reports = rounds_of(secure_config(), 1)
    metrics, parameters = reports[0].metrics, sum(values.size for values in server.state.parameters.values())
    assert metrics["bytes_up_weights"] == 4 * parameters
    assert metrics["bytes_up_prototypes"] == 8 * sum(a.size for a in server.state.global_memory.to_arrays().values())
    size = server.population.dataset.num_items + 1
    session_bytes = 2 * 32 + 4 * (66 + 28) + 5 * 33
    assert metrics["bytes_up_transitions"] == 4 * size * (size + 1) + session_bytes
    assert metrics["bytes_up_keys"] > session_bytes
    assert metrics["bytes_down_keys"] == 4 * (2 * 32 + 66 + 28 + 1)


def test_too_small_a_cohort_is_refused_before_anything_is_encoded():
    config = tiny_config(secure_sums={"enabled": True, "minimum_cohort": 20})
    with pytest.raises(ConfigError, match=r"minimum_cohort = 20, and only 6 clients take part in a round: raise fed"):
        take_snapshot(config, tiny_dataset())
    config = tiny_config(secure_sums={"enabled": True, "minimum_cohort": 20}, federated={"client_fraction": 1.0})
    with pytest.raises(ConfigError, match="only 12 clients"):
        server_of(config).run_round()


def test_a_sum_of_too_few_survivors_is_not_read():
    server = server_of(secure_config())
    secure = rounds.secure_aggregation(server.config, server.population)
    clients = server.select_clients()
    session = secure.session("updates", 0, clients)
    sent = list(server.population.train(clients, server.distribute_model(), (), session))
    with pytest.raises(TrainingError, match=r"3 clients are left .*minimum_cohort = 4 are needed"):
        secure.update(session, sent[0])


CHOSEN = [
    ("enough of the cohort", range(4), range(12), range(4)),
    ("filled up from others", range(2), range(12), 4),
    ("all, where too few would be left", range(4), range(7), range(7)),
    ("none of the cohort has anything", range(2), range(2, 12), ()),
    ("too few in all", range(4), range(3), ()),
]


@pytest.mark.parametrize(("cohort", "having", "expected"), [case[1:] for case in CHOSEN], ids=[c[0] for c in CHOSEN])
def test_who_hands_on_transitions_is_a_cohort(cohort, having, expected):
    config = secure_config()
    least, seed = config.secure_sums.minimum_cohort, config.seed
    chosen = handing_on(least, seed, 3, np.array(cohort), np.array(having)).tolist()
    if isinstance(expected, int):
        assert len(chosen) == expected
        assert set(cohort) < set(chosen) < set(having)
    else:
        assert chosen == list(expected)
