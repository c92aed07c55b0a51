"""Secure sums over nodes: what comes of them is what comes of plain sums, whichever node is lost."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from fedmem.errors import ConfigError, NodesAwayError
from fedmem.experiment import TrainingRun
from fedmem.nodes.letter import Letter
from fedmem.nodes.masked_rounds import MaskedRounds
from fedmem.secure_sums.fixed_point import FixedPoint
from tests.nodes.equal import assert_equal_runs
from tests.nodes.secured import ALL_DRAWN, SECURE, hurried, lost, nodes_of, secured_snapshots
from tests.tiny import tiny_config

APART = ("nodes", "bytes")  # what a node sends for its users is not what each of them would send
PLAIN = {"enabled": False}


def test_a_run_on_nodes_that_mask_equals_the_simulation_with_secure_sums(courier, tmp_path):
    together, apart = secured_snapshots()
    with (
        closing(TrainingRun.start(tmp_path / "simulated", together)) as simulated,
        closing(TrainingRun.start(tmp_path / "nodes", apart, courier=courier)) as run,
    ):
        assert_equal_runs(simulated, run, APART)


def test_cells_of_a_sketch_are_masked_and_add_up_to_what_they_do_in_the_simulation(courier, tmp_path):
    together, apart = secured_snapshots(transitions={"sketch_bits": 7})
    with (
        closing(TrainingRun.start(tmp_path / "simulated", together)) as simulated,
        closing(TrainingRun.start(tmp_path / "nodes", apart, courier=courier)) as run,
    ):
        assert_equal_runs(simulated, run, APART)
        assert run.server.state.transitions.pairs.shape == (3, 2**7)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("node", [None, "berlin"])
def test_the_sum_is_the_plain_sum_to_the_fixed_point_also_without_a_node_that_is_lost(bits, node, tmp_path):
    sums = {}
    for name, secure in (("masked", {**SECURE, "bits": bits}), ("plain", PLAIN)):
        _, apart = secured_snapshots(secure_sums=secure)
        courier = nodes_of(tmp_path / name)
        courier.trouble = lost(node, "train")
        with closing(TrainingRun.start(tmp_path / f"run-{name}", apart, courier=courier)) as run:
            server = run.server
            chunks = list(run.population.train(server.select_clients(), server.distribute_model()))
            total = chunks[0] if len(chunks) == 1 else sum(chunks[1:], chunks[0])
            sums[name] = total
            assert run.population.roster.members["berlin"].missed == ([] if node is None else [1])
    masked, plain = sums["masked"], sums["plain"]
    point = FixedPoint(bits, apart.config.secure_sums.clip, 11)
    for parameter, change in plain.delta.items():
        precision = max(4 * point.step, 1e-6 * float(np.abs(change).max()))
        np.testing.assert_allclose(masked.delta[parameter], change, rtol=0, atol=precision)
    assert masked.clients == plain.clients == (11 if node is None else plain.clients)
    assert masked.weight == plain.weight
    for block, values in plain.prototypes.sums.items():
        np.testing.assert_allclose(masked.prototypes.sums[block], values, atol=1e-5)
    assert masked.metrics.keys() == plain.metrics.keys() | {"clipped_parameters", "bytes_down_keys"}
    assert masked.metrics["nodes"].value == plain.metrics["nodes"].value == (4 if node is None else 3)


def test_a_node_that_is_lost_after_the_shares_is_left_out_and_counted_later(tmp_path, caplog):
    _, apart = secured_snapshots()
    courier = nodes_of(tmp_path / "nodes")
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        courier.trouble = lost("cadiz", "train", 1)
        report, *later = run.rounds()
        stores = courier.stores(run.population.roster.run)
        handed_on = sum(int(store.all_handed_on(5).sum()) for store in stores)
        assert run.server.state.transitions.taken.sum() == handed_on
    assert (report.metrics["nodes"], report.metrics["nodes_missing"]) == (3.0, 1.0)
    assert [each.metrics["nodes"] for each in later] == [4.0] * 4
    assert "made anew" not in caplog.text


@pytest.mark.parametrize("kind", ["keys", "shares", "train", "reveal", "evaluate"])
def test_a_sum_that_cannot_be_read_is_made_anew_with_the_same_numbers(kind, courier, tmp_path):
    together, apart = secured_snapshots()
    with (
        closing(TrainingRun.start(tmp_path / "simulated", together)) as simulated,
        closing(TrainingRun.start(tmp_path / "nodes", apart, courier=courier)) as run,
    ):
        courier.trouble = lost("berlin", kind, 4 if kind == "reveal" else 1)
        assert_equal_runs(simulated, run, APART)


def test_a_run_that_is_taken_up_again_equals_one_that_was_not(courier, tmp_path):
    together, apart = secured_snapshots()
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        rounds = run.rounds()
        next(rounds), next(rounds)
        list(run.population.train(run.server.select_clients(), run.server.distribute_model()))
    with (
        closing(TrainingRun.start(tmp_path / "simulated", together)) as simulated,
        closing(TrainingRun.resume(tmp_path / "run", apart.config, courier=courier)) as again,
    ):
        list(simulated.rounds()), list(again.rounds())
        for name, value in simulated.server.state.parameters.items():
            np.testing.assert_allclose(again.server.state.parameters[name], value, atol=1e-6, rtol=0)
        np.testing.assert_array_equal(again.server.state.transitions.taken, simulated.server.state.transitions.taken)


def test_below_the_minimum_no_sum_is_read_and_the_run_waits(courier, tmp_path):
    apart = hurried(secured_snapshots()[1])
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        courier.trouble = lost("berlin", "train")
        with pytest.raises(NodesAwayError, match=r"no secure sum of updates .* of 2 nodes"):
            next(run.rounds())
    kinds = {Letter.from_bytes(content).facts["kind"] for _, content in courier.sent}
    assert kinds == {"hello", "setup", "keys", "shares", "train"}, "no share was asked for"


def test_a_round_that_was_read_is_not_made_again_of_other_nodes(tmp_path):
    """The difference of both sums would be one node's part."""
    apart = hurried(secured_snapshots()[1])
    courier = nodes_of(tmp_path / "nodes")
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        rounds = run.rounds()
        next(rounds), next(rounds)
        list(run.population.train(run.server.select_clients(), run.server.distribute_model()))
    berlin = courier.of.pop(102)
    with closing(TrainingRun.resume(tmp_path / "run", apart.config, courier=courier)) as again:
        with pytest.raises(NodesAwayError, match=r"one of amsterdam, berlin, cadiz, delft, and another would betray"):
            next(again.rounds())
        courier.of[102] = berlin
        assert next(again.rounds()).metrics["nodes"] == 4


def test_a_sum_for_which_shares_were_asked_is_of_these_nodes_even_if_it_was_not_read(tmp_path):
    """Answers that come too late would let it be read beside another."""
    apart = hurried(secured_snapshots()[1])
    courier, late = nodes_of(tmp_path / "nodes"), []

    def trouble(name, asked, answer):
        if asked.facts["kind"] == "reveal" and name in ("cadiz", "delft"):
            late.append(name)
            return "it is late"
        return "it is gone" if late and name == "delft" else answer

    courier.trouble = trouble
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        with pytest.raises(NodesAwayError):
            next(run.rounds())
        with pytest.raises(NodesAwayError, match=r"one of amsterdam, berlin, cadiz, delft, and another would betray"):
            next(run.rounds())
        courier.trouble = lambda name, asked, answer: answer
        assert next(run.rounds()).metrics["nodes"] == 4


def test_a_node_that_masks_something_else_is_found_out(courier, tmp_path, caplog):
    together, apart = secured_snapshots()
    spoilt = iter([True])

    def trouble(name, asked, answer):
        if (name, asked.facts["kind"]) == ("cadiz", "train") and next(spoilt, False):
            answer.arrays["numbers"][:] += np.uint64(2**60)
        return answer

    with (
        closing(TrainingRun.start(tmp_path / "simulated", together)) as simulated,
        closing(TrainingRun.start(tmp_path / "nodes", apart, courier=courier)) as run,
    ):
        courier.trouble = trouble
        assert_equal_runs(simulated, run, APART)
    assert "a node masked something else than it should" in caplog.text


@pytest.mark.parametrize(
    "keys", [["00" * 32, "11" * 32], ["11" * 32, "00" * 31], ["11" * 32]], ids=["null", "short", "one"]
)
def test_a_node_whose_keys_are_none_is_left_out_and_the_others_go_on(keys, tmp_path, caplog):
    _, apart = secured_snapshots()
    courier = nodes_of(tmp_path / "nodes")
    courier.trouble = lambda name, asked, answer: (
        replace(answer, facts={**answer.facts, "keys": keys})
        if (name, asked.facts["kind"]) == ("cadiz", "keys")
        else answer
    )
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        report = next(run.rounds())
    assert (report.metrics["nodes"], report.metrics["nodes_missing"]) == (3.0, 1.0)
    assert "an answer of node cadiz is refused" in caplog.text


def test_who_has_nothing_left_to_hand_on_beside_others_keeps_it(tmp_path):
    """A client hands on once, so that a sum of one node's last clients would be that node's."""
    _, apart = secured_snapshots()
    courier = nodes_of(tmp_path / "nodes")
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        roster, rounds = run.population.roster, MaskedRounds(apart.config, run.population.nodes)
        drawn = roster.by_node(roster.clients)
        roster.hand_on({name: own for name, own in drawn.items() if name in ("amsterdam", "berlin")}, 1)
        assert len(rounds._handing_on(roster.clients, drawn, 1)) == 0, "two nodes have any left"
        assert len(rounds._handing_on(roster.clients, drawn, 0)) == 4, "before that round all have"
        again = type(roster)(roster.path)
        np.testing.assert_array_equal(again.having_transitions(drawn, 1), roster.having_transitions(drawn, 1))


def test_a_round_that_too_few_nodes_take_part_in_is_refused_with_the_setting(tmp_path):
    _, apart = secured_snapshots(
        federated={**ALL_DRAWN, "client_fraction": 0.01}, secure_sums={**SECURE, "minimum_cohort": 2}
    )
    with (
        closing(TrainingRun.start(tmp_path / "run", apart, courier=nodes_of(tmp_path / "nodes"))) as run,
        pytest.raises(ConfigError, match=r"federated.client_fraction = 0.01"),
    ):
        next(run.rounds())


def test_fewer_than_three_nodes_are_refused():
    with pytest.raises(ConfigError, match=r"flower.minimum_nodes = 2 with secure_sums.enabled: set it to 3"):
        tiny_config(engine="flower", flower={"minimum_nodes": 2}, secure_sums=SECURE)
