"""A run whose transition memory has a budget: it is released once, and nothing else of it is read, kept or counted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmem.checkpoint.erasure import erase_users
from fedmem.config_reader import validate_config
from fedmem.controls import control_recommenders
from fedmem.errors import ConfigError
from fedmem.experiment import TrainingRun
from fedmem.federated.transition_release import unreleased
from fedmem.memory.transitions import TransitionCounts, TransitionTable
from fedmem.privacy.startable import check_startable
from fedmem.serving import Recommender
from fedmem.snapshot import take_snapshot
from tests.tiny import tiny_config, tiny_dataset, tiny_snapshot, trained

PRIVATE = {
    "privacy": {"transitions_epsilon": 8},
    "transitions": {"strengths": [0.5]},
    "federated": {"num_rounds": 10},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return trained(tmp_path_factory.mktemp("private") / "run", tiny_snapshot(tiny_config(**PRIVATE)))


def test_the_table_is_released_once_and_the_budget_is_shown(run: TrainingRun) -> None:
    assert run.snapshot.config.release_round == 7, "half of the clients a round"
    lines = [line["metrics"] for line in run.directory.read_metrics()]
    assert [line["epsilon_transitions"] for line in lines] == [0] * 7 + [8] * 3
    assert not any(name.startswith("transition_") and not name.startswith("transition_strength") for name in lines[-1])
    block = 4 * (run.snapshot.dataset.num_items + 1) ** 2
    assert {line["bytes_up_transitions"] for line in lines} == {block}, "bytes do not count who has something new"
    assert ["bytes_down_transitions" in line for line in lines] == [False] * 7 + [True, False, True]


def test_a_released_table_is_evaluated_and_served_as_it_is(run: TrainingRun) -> None:
    run.restore(run.record.last)
    released = run.server.state.released
    assert released is not None
    assert (released.pairs != run.server.state.transitions.pairs).nnz, "with noise"
    table = TransitionTable.of(released, run.snapshot.config.transitions)
    served = Recommender.load(run.directory.path, round=run.record.last)
    for each in (served, served.with_held_out()):
        assert np.array_equal(each.scorer.transitions.weights, table.weights)


def test_controls_change_what_was_released_for_that_is_what_is_read(run: TrainingRun) -> None:
    checkpoint = run.directory.checkpoints.read(run.record.last)
    controls = control_recommenders(run.snapshot, checkpoint)
    released = checkpoint.server.released
    assert controls["trained model"].scorer.transitions is not None
    assert controls["no transitions"].scorer.transitions is None
    assert controls["no memory at all"].scorer.transitions is None
    for name in ("shuffled transition rows", "random transitions"):
        table = controls[name].scorer.transitions
        assert not np.array_equal(table.items, controls["trained model"].scorer.transitions.items), name
        assert np.array_equal(table.taken, released.taken), "of what was released, not of the exact sum"


def test_neither_feedback_nor_a_deletion_changes_what_is_served(run: TrainingRun) -> None:
    served = Recommender.load(run.directory.path, round=run.record.last).with_held_out()
    before = served.scorer.transitions.weights.copy()
    served.count([("new", [], ["1", "2", "3"])])
    served.forget_user(served.dataset.vocabulary.users[0], ["3"])
    served.refresh()
    assert np.array_equal(served.scorer.transitions.weights, before)


def test_it_is_the_same_after_a_resume_and_a_deleted_user_leaves_the_exact_sum(
    tmp_path: Path, run: TrainingRun
) -> None:
    config = tiny_config(**PRIVATE)
    part = TrainingRun.start(tmp_path / "part", tiny_snapshot(config))
    for report in part.rounds(lambda: part.server.state.round >= 5):
        assert report
    part.close()
    again = TrainingRun.resume(tmp_path / "part", config)
    assert list(again.rounds())
    assert again.directory.read_metrics() == run.directory.read_metrics()
    again.close()
    data, state = again.snapshot.dataset, again.server.state
    erase_users(tmp_path / "part", [data.vocabulary.users[0]])
    left = again.directory.checkpoints.read_server(state.round)
    gone = TransitionCounts.of([data.training_history(0)], data.num_items, config.transitions.window, bounded=True)
    assert (left.transitions.pairs != (state.transitions - gone).pairs).nnz == 0
    assert (left.released.pairs != state.released.pairs).nnz == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"transitions": {"sketch_bits": 9}}, "sketch_bits = 9"),
        ({"privacy": {"transitions_epsilon": 0}}, "transitions_epsilon"),
    ],
)
def test_what_a_budget_cannot_be_kept_with_is_refused(changes: dict, named: str) -> None:
    settings = {"privacy": {"transitions_epsilon": 2}, **changes}
    with pytest.raises(ConfigError, match=named):
        validate_config(settings, "the test")


@pytest.mark.parametrize(
    ("rounds", "every", "named"),
    [
        (44, 10, "num_rounds = 44"),
        (49, 10, r"num_rounds = 49 .* after round 44, .*num_rounds to 50 or more"),
        (59, 30, "num_rounds to 60 or more"),
        (50, 11, "to 55 or more"),  # the validation of round 44 is before the release
    ],
)
def test_no_run_begins_with_fewer_rounds_than_a_validation_after_the_release_needs(rounds, every, named) -> None:
    changes = {"federated": {"num_rounds": rounds}, "evaluation": {"eval_every": every}}
    config = validate_config({"privacy": {"transitions_epsilon": 2}, **changes}, "the test")
    with pytest.raises(ConfigError, match=named):
        check_startable(config)
    with pytest.raises(ConfigError, match=named):
        take_snapshot(config, tiny_dataset())


def test_as_many_rounds_will_do_as_a_validation_after_the_release_needs() -> None:
    config = validate_config({"privacy": {"transitions_epsilon": 2}, "federated": {"num_rounds": 50}}, "the test")
    assert config.first_release_validation == 50
    check_startable(config)


def test_other_budgets_that_end_before_it_is_of_use_are_refused(tmp_path: Path) -> None:
    privacy = {"transitions_epsilon": 8, "weights_epsilon": 6, "weights_noise": 1.0}
    config = tiny_config(**{**PRIVATE, "privacy": privacy}, ablation={"disable_prototype_agg": True})
    with pytest.raises(
        ConfigError, match=r"is of round 8, and a round after round \d would spend more than privacy.weights_epsilon"
    ):
        trained(tmp_path / "run", tiny_snapshot(config))


def begun(path: Path, until: int) -> TrainingRun:
    """Train a private run up to a round before its release, as if no later validation could be better."""
    run = TrainingRun.start(path, tiny_snapshot(tiny_config(**PRIVATE)))
    for report in run.rounds(lambda: run.server.state.round >= until):
        assert report
    run.server.state = replace(run.server.state, best_metric=2.0)
    return run


def test_the_model_that_serves_has_the_table_that_the_budget_was_spent_on(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", 6)
    assert list(run.rounds())
    lines = run.directory.read_metrics()
    assert lines[7]["is_best"], "whatever the rounds before had"
    run.finish()
    run.close()
    assert run.record.best in (8, 10)
    assert run.server.state.released is not None


def test_a_run_that_ends_before_its_release_says_so(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", 4)
    run.server.state = replace(run.server.state, stale=run.snapshot.config.federated.patience - 1)
    assert len(list(run.rounds())) == 2, "to the next validation"
    assert run.server.finished
    said = unreleased(run.snapshot.config, run.server.state)
    run.close()
    assert said is not None
    assert "not released, which follows round 7" in said
    assert unreleased(tiny_config(), run.server.state) is None
