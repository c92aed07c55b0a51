"""Nodes that vanish, answer late, twice or nonsense: refused by name, counted, and nothing of theirs counts twice."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from fedmem.config import TransitionsConfig
from fedmem.experiment import TrainingRun
from fedmem.memory.count_sketch import sketched
from fedmem.memory.transitions import TransitionCounts
from fedmem.nodes.letter import Letter, facts_of
from fedmem.nodes.node_store import NodeStore
from fedmem.snapshot import take_snapshot
from tests.nodes.equal import assert_equal_runs
from tests.tiny import tiny_config, tiny_dataset

FIRST = "delta/sasrec.item_embedding"


def damaged(answer: Letter, **facts) -> Letter:
    return replace(answer, facts={**answer.facts, **facts})


def with_array(answer: Letter, value: np.ndarray) -> Letter:
    return replace(answer, arrays={**answer.arrays, FIRST: value})


def in_cells(answer: Letter) -> Letter:
    """Send a sketch where pairs are wanted."""
    pairs = {name.partition("/")[2]: value for name, value in answer.arrays.items() if name.startswith("transitions/")}
    cells = sketched(TransitionCounts.from_arrays(pairs), TransitionsConfig(sketch_bits=5)).to_arrays()
    return replace(answer, arrays={**answer.arrays, **{f"transitions/{name}": value for name, value in cells.items()}})


NONSENSE = {
    "transitions are (3, 32), and are to be (": in_cells,
    "holds what is no number": lambda answer: with_array(answer, answer.arrays[FIRST] * np.nan),
    "is to be float32": lambda answer: with_array(answer, answer.arrays[FIRST][:-1]),
    "too much or too little": lambda answer: replace(answer, arrays={}),
    "for round 77": lambda answer: damaged(answer, round=77),
    "for order 1": lambda answer: damaged(answer, order=1),
    "clients answered": lambda answer: damaged(answer, clients=99),
    "the weight is -1": lambda answer: damaged(answer, weight=-1.0),
    "the weight is 1e+300": lambda answer: damaged(answer, weight=1e300),
    "cannot convert float infinity": lambda answer: damaged(answer, clients=np.inf),
    "other parts or metrics": lambda answer: damaged(answer, metrics={"another": ["mean", 1.0, 1.0]}),
    "metrics than those": lambda answer: damaged(
        answer, metrics={key: ["total", 1.0] for key in answer.facts["metrics"]}
    ),
}


@pytest.fixture
def lenient(apart):
    """A run that goes on with two nodes of three."""
    config = apart.config.model_copy(update={"flower": apart.config.flower.model_copy(update={"minimum_nodes": 2})})
    return replace(apart, config=config)


def in_round(number: int, name: str, makes):
    """Let a node's training answer of a round be something else."""

    def trouble(node, asked, answer):
        wanted = node == name and asked.facts["kind"] == "train" and asked.facts["round"] == number
        return makes(answer) if wanted else answer

    return trouble


@pytest.mark.parametrize("reason", NONSENSE)
def test_an_answer_that_cannot_be_used_is_refused_by_name_and_the_round_goes_on(
    reason, lenient, courier, tmp_path, caplog
):
    with closing(TrainingRun.start(tmp_path / "run", lenient, courier=courier)) as run:
        courier.trouble = in_round(0, "cadiz", NONSENSE[reason])
        report = next(run.rounds())
    assert reason in caplog.text
    assert "an answer of node cadiz is refused" in caplog.text
    assert (report.metrics["nodes"], report.metrics["nodes_missing"], report.metrics["nodes_refused"]) == (2, 1, 1)
    assert run.population.roster.members["cadiz"].missed == [1]


@pytest.mark.parametrize(("method", "bounded"), [("fedavg", False), ("median", True), ("norm_clipping", True)])
def test_a_poisoned_node_moves_a_robust_mean_no_further_than_the_others_do(method, bounded, apart, courier, tmp_path):
    plain = {"server_optimizer": "none", "server_learning_rate": 1.0, "aggregation_method": method}
    federated = apart.config.federated.model_copy(update=plain)
    snapshot = replace(apart, config=apart.config.model_copy(update={"federated": federated}))
    poisoned = in_round(0, "cadiz", lambda answer: with_array(answer, 1e6 * answer.arrays[FIRST]))
    moved = []
    for number, trouble in enumerate((courier.trouble, poisoned)):
        courier.trouble = trouble
        with closing(TrainingRun.start(tmp_path / f"run-{number}", snapshot, courier=courier)) as run:
            before = run.server.state.parameters["sasrec.item_embedding"]
            next(run.rounds())
            moved.append(np.linalg.norm(run.server.state.parameters["sasrec.item_embedding"] - before))
    assert bool(moved[1] < 3 * moved[0]) is bounded


def test_below_the_minimum_a_round_is_repeated_and_ends_with_the_same_numbers(together, apart, courier, tmp_path):
    failures = iter(["it is gone", "it is gone"])
    with (
        closing(TrainingRun.start(tmp_path / "simulated", together)) as simulated,
        closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run,
    ):
        courier.trouble = in_round(2, "berlin", lambda answer: next(failures, answer))
        assert_equal_runs(simulated, run)
    assert next(failures, None) is None


def test_what_a_node_trained_in_vain_it_hands_on_later(lenient, courier, tmp_path):
    with closing(TrainingRun.start(tmp_path / "run", lenient, courier=courier)) as run:
        courier.trouble = in_round(0, "cadiz", lambda answer: "it is late")
        list(run.rounds())
        taken = int(run.server.state.transitions.taken.sum())
        stores = courier.stores(run.population.roster.run)
        assert taken == sum(int(store.all_handed_on(5).sum()) for store in stores)
        assert not stores[2].changed(np.arange(5), 1).any()


def test_what_a_node_trained_in_vain_last_it_hands_on_when_the_run_goes_on_after_its_test(lenient, courier, tmp_path):
    """The test is of the best round, and is not to have the last one's absence forgotten."""
    courier.trouble = lambda node, asked, answer: (
        "it is gone" if node == "cadiz" and asked.facts["kind"] in ("train", "evaluate") else answer
    )
    all_drawn = lenient.config.federated.model_copy(update={"client_fraction": 0.9})
    lenient = replace(lenient, config=lenient.config.model_copy(update={"federated": all_drawn}))
    with closing(TrainingRun.start(tmp_path / "run", lenient, courier=courier)) as run:
        list(run.rounds())
        run.population.restore_memories([], 4)  # as the test of an earlier model does
    courier.trouble = lambda node, asked, answer: answer
    more = lenient.config.model_copy(update={"federated": all_drawn.model_copy(update={"num_rounds": 7})})
    with closing(TrainingRun.resume(tmp_path / "run", more, courier=courier)) as again:
        list(again.rounds())
        handed_on = sum(int(store.all_handed_on(7).sum()) for store in courier.stores(again.population.roster.run))
        assert again.server.state.transitions.taken.sum() == handed_on


def test_a_run_that_is_taken_up_again_equals_one_that_was_not(together, apart, courier, tmp_path):
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        rounds = run.rounds()
        next(rounds), next(rounds)
        broadcast = run.server.distribute_model()  # a round that was under way when the trainer died
        list(run.population.train(run.server.select_clients(), broadcast))
    with (
        closing(TrainingRun.start(tmp_path / "simulated", together)) as simulated,
        closing(TrainingRun.resume(tmp_path / "run", apart.config, courier=courier)) as again,
    ):
        assert again.server.state.round == 2
        list(simulated.rounds()), list(again.rounds())
        for name, value in simulated.server.state.parameters.items():
            np.testing.assert_allclose(again.server.state.parameters[name], value, atol=1e-6, rtol=0)
        np.testing.assert_array_equal(again.server.state.transitions.taken, simulated.server.state.transitions.taken)


def test_an_older_request_is_refused(apart, courier, tmp_path):
    kept = []
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        courier.trouble = lambda name, asked, answer: (kept.append((name, asked)), answer)[1]
        list(run.rounds())
    name, asked = next((name, asked) for name, asked in kept if asked.facts["kind"] == "train")
    answer = next(node for node in courier.of.values() if node.name == name).answer(asked)
    assert "its round is over" in answer.facts["error"]


def test_the_snapshot_for_nodes_holds_the_catalogue_alone(tmp_path):
    dataset = tiny_dataset()
    config = tiny_config(engine="flower", features={"text": "off", "image": "off"})
    snapshot = take_snapshot(config, dataset)
    assert (snapshot.dataset.num_users, len(snapshot.dataset.sequence)) == (0, 0)
    assert snapshot.dataset.vocabulary.items == dataset.vocabulary.items


def test_the_store_of_a_run_is_for_its_owner_alone(tmp_path):
    store = NodeStore(tmp_path / "nodes" / "first", "a run")
    with store.alone():
        assert store.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "presented",
    [{"users": np.inf}, {"users": 10**30}, {"users": "many"}],
    ids=["infinite", "more than there are", "a word"],
)
def test_a_node_that_presents_itself_with_nonsense_is_refused_and_the_run_begins(presented, lenient, courier, tmp_path):
    courier.trouble = lambda name, asked, answer: (
        damaged(answer, **presented) if (name, asked.facts["kind"]) == ("berlin", "setup") else answer
    )
    with closing(TrainingRun.start(tmp_path / "run", lenient, courier=courier)) as run:
        assert list(run.population.roster.members) == ["amsterdam", "cadiz"]


def test_a_node_whose_users_are_a_table_is_refused(lenient, courier, tmp_path):
    courier.trouble = lambda name, asked, answer: (
        replace(answer, arrays={"trainable": np.zeros((0, 3), np.int64)})
        if (name, asked.facts["kind"]) == ("berlin", "setup")
        else answer
    )
    with closing(TrainingRun.start(tmp_path / "run", lenient, courier=courier)) as run:
        assert list(run.population.roster.members) == ["amsterdam", "cadiz"]


@pytest.mark.parametrize("text", ["[1]", '{"weight": Infinity}', '{"weight": NaN}', "{"])
def test_facts_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match=r"facts are a list|no number|Expecting"):
        facts_of(text)
