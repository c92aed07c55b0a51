"""No sum is read again of other nodes: not by a run that was put back, nor by another run that asks the same."""

import shutil
from contextlib import closing
from dataclasses import replace

import pytest

from fedmem.errors import CheckpointError, NodesAwayError
from fedmem.experiment import TrainingRun
from tests.nodes.conftest import shard
from tests.nodes.secured import ALL_DRAWN, hurried, nodes_of, secured_snapshots
from tests.tiny import tiny_dataset


@pytest.fixture
def courier(tmp_path):
    return nodes_of(tmp_path / "nodes")


ENOUGH = 60.0  # seconds to make a sum anew in


def one_round(path, courier, wait=ENOUGH, **changes) -> float:
    """How many nodes the first round of a new run is of."""
    apart = hurried(secured_snapshots(**changes)[1], wait)
    with closing(TrainingRun.start(path, apart, courier=courier)) as run:
        return next(run.rounds()).metrics["nodes"]


@pytest.fixture
def put_back(courier, tmp_path):
    """A folder copied after the first of two rounds, which knows nothing of the second."""
    apart = hurried(secured_snapshots()[1])
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        rounds = run.rounds()
        next(rounds)
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        next(rounds)
    return tmp_path / "copy", apart.config


def test_a_run_that_is_put_back_makes_no_sum_of_other_nodes(put_back, courier):
    path, config = put_back
    delft = courier.of.pop(104)
    again = TrainingRun.resume(path, config, courier=courier)
    with closing(again), pytest.raises(NodesAwayError, match="as one of amsterdam, berlin, cadiz, delft"):
        next(again.rounds())
    courier.of[104] = delft
    with closing(TrainingRun.resume(path, patient(config), courier=courier)) as run:
        assert next(run.rounds()).metrics["nodes"] == 4


def patient(config):
    return config.model_copy(update={"flower": config.flower.model_copy(update={"wait": ENOUGH})})


def test_a_node_of_which_a_sum_was_not_stays_out_of_it(courier, tmp_path):
    apart, lost = hurried(secured_snapshots()[1], ENOUGH), {("delft", "train")}
    courier.trouble = lambda name, asked, answer: "it is gone" if (name, asked.facts["kind"]) in lost else answer
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        list(run.population.train(run.server.select_clients(), run.server.distribute_model()))
        run.population.roster.counted.clear()
        lost.clear()
        assert next(run.rounds()).metrics["nodes"] == 3


def test_nodes_reveal_nothing_to_a_server_that_does_not_heed_them(put_back, courier, caplog):
    path, config = put_back
    del courier.of[104]
    courier.trouble = lambda name, asked, answer: (
        replace(answer, facts={**answer.facts, "before": []}) if asked.facts["kind"] == "keys" else answer
    )
    with closing(TrainingRun.resume(path, config, courier=courier)) as run, pytest.raises(NodesAwayError):
        next(run.rounds())
    assert "the sum was of 4 nodes when it was read before, and would be of others" in caplog.text


def test_another_run_that_asks_the_same_asks_the_same_nodes(courier, tmp_path):
    assert one_round(tmp_path / "first", courier) == 4
    courier.trouble = lambda name, asked, answer: (
        "it is gone" if (name, asked.facts["kind"]) == ("delft", "train") else answer
    )
    with pytest.raises(NodesAwayError, match="remembers it as one of"):
        one_round(tmp_path / "second", courier, wait=0.5)
    assert one_round(tmp_path / "other-seed", courier, seed=7) == 3
    courier.trouble = lambda name, asked, answer: answer
    assert one_round(tmp_path / "third", courier) == 4


def test_a_run_that_asks_the_same_and_lacks_a_node_is_told_to_take_another_seed(courier, tmp_path):
    all_draw = {"federated": {**ALL_DRAWN, "client_fraction": 1.0}}
    assert one_round(tmp_path / "first", courier, **all_draw) == 4
    del courier.of[104]
    with pytest.raises(NodesAwayError, match=r"of 4 nodes, other than these: .* train with another seed"):
        one_round(tmp_path / "second", courier, wait=0.5, **all_draw)


def test_new_interactions_are_another_question(courier, tmp_path):
    all_draw = {"federated": {**ALL_DRAWN, "client_fraction": 1.0}}
    assert one_round(tmp_path / "first", courier, **all_draw) == 4
    del courier.of[104]
    dataset = tiny_dataset()
    for number, users in ((101, range(9, 12)), (102, range(6, 9)), (103, range(3, 6))):
        shard(dataset, courier.of[number].data, users)
    assert one_round(tmp_path / "second", courier, **all_draw) == 3


def test_an_owner_who_wants_more_nodes_is_heard_before_a_share_is_asked_for(courier, tmp_path):
    """A sum that was begun to be read of too few for one of them could never be read again."""
    courier.of[101].least, lost = 4, [1]

    def trouble(name, asked, answer):
        if (name, asked.facts["kind"]) == ("delft", "train") and lost:
            lost.pop()
            return "it is gone"
        return answer

    courier.trouble = trouble
    assert one_round(tmp_path / "run", courier) == 4


def test_a_run_without_its_nodes_is_not_taken_up_with_others(put_back, courier):
    path, config = put_back
    (path / "nodes.json").unlink()
    with pytest.raises(CheckpointError, match="missing, or names no node"):
        TrainingRun.resume(path, config, courier=courier)


def test_transitions_that_were_handed_on_are_not_asked_for_again(courier, tmp_path, caplog):
    """A sum in which others have nothing new would be of one node's users alone."""
    apart = hurried(secured_snapshots(federated={**ALL_DRAWN, "client_fraction": 0.7})[1])
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        shutil.copy(tmp_path / "run" / "nodes.json", tmp_path / "older.json")
        next(run.rounds())
    shutil.copy(tmp_path / "older.json", tmp_path / "run" / "nodes.json")
    again = TrainingRun.resume(tmp_path / "run", apart.config, courier=courier)
    with closing(again), pytest.raises(NodesAwayError):
        next(again.rounds())
    assert "asks for transitions that were handed on before" in caplog.text


def test_keys_are_for_the_sum_that_they_were_asked_for(courier, tmp_path, caplog):
    apart, exchange = hurried(secured_snapshots()[1]), courier.exchange

    def changed(letters, patience):
        letters = {
            number: replace(x, facts={**x.facts, "round": 1, "strengths": []}) if x.facts["kind"] == "train" else x
            for number, x in letters.items()
        }
        yield from exchange(letters, patience)

    courier.exchange = changed
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run, pytest.raises(NodesAwayError):
        next(run.rounds())
    assert "asks for another sum than it took keys for" in caplog.text


def test_a_letter_of_a_sum_that_is_over_does_not_end_the_next(courier, tmp_path):
    """A copy that was under way for long would have the node draw other secrets."""
    apart, keys, late = hurried(secured_snapshots()[1], ENOUGH), [], []

    def trouble(name, asked, answer):
        if (name, asked.facts["kind"]) == ("berlin", "keys"):
            keys.append(asked)
        if (name, asked.facts["kind"]) == ("berlin", "shares") and len(keys) == 2 and not late:
            late.append(courier.of[102].answer(keys[0]).facts["error"])
        return answer

    courier.trouble = trouble
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        rounds = run.rounds()
        assert [next(rounds).metrics["nodes"] for _ in range(2)] == [4, 4]
    assert "older than one that this node has answered" in late[0]
