"""A run whose weights have a budget: what is spent is a function of the rounds, and training ends with it."""

from pathlib import Path

import pytest

from fedmem.errors import CheckpointError
from fedmem.experiment import TrainingRun
from fedmem.privacy.accountant import Accountant, together
from fedmem.privacy.cost import cost, planned
from tests.tiny import tiny_config, tiny_snapshot, trained

PRIVATE = {
    "privacy": {"weights_epsilon": 12, "weights_noise": 1.0, "weights_clip": 0.5},
    "federated": {"num_rounds": 20, "patience": 50},
    "ablation": {"disable_prototype_agg": True, "disable_transitions": True},
}
ACCOUNTANT = Accountant(1.0, 0.5, 1e-6)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return trained(tmp_path_factory.mktemp("private") / "run", tiny_snapshot(tiny_config(**PRIVATE)))


def test_training_ends_before_the_budget_is_overspent(run: TrainingRun) -> None:
    ended = len(run.directory.read_metrics())
    assert 1 < ended < 20
    assert ACCOUNTANT.epsilon(ended) <= 12 < ACCOUNTANT.epsilon(ended + 1)
    assert run.server.budget is not None
    assert f"in {ended} rounds (not 20: the budget ends training)" in run.server.budget.sentence


def test_every_round_says_what_is_spent(run: TrainingRun) -> None:
    lines = [line["metrics"] for line in run.directory.read_metrics()]
    assert [line["epsilon_weights"] for line in lines] == [ACCOUNTANT.epsilon(n + 1) for n in range(len(lines))]
    assert {line["clients"] for line in lines} == {6.0}, "the expected number, not the drawn one"


def test_a_run_that_was_stopped_and_resumed_has_the_same_numbers(tmp_path: Path, run: TrainingRun) -> None:
    config = tiny_config(**PRIVATE)
    part = TrainingRun.start(tmp_path / "part", tiny_snapshot(config))
    assert list(part.rounds(lambda: part.server.state.round >= 3))
    part.close()
    again = TrainingRun.resume(tmp_path / "part", config)
    assert list(again.rounds())
    again.close()
    assert again.directory.read_metrics() == run.directory.read_metrics()


def test_rounds_are_not_added_where_noise_was_computed_for_those_planned(tmp_path: Path) -> None:
    settings = {**PRIVATE, "privacy": {"weights_epsilon": 8}, "federated": {"num_rounds": 2}}
    trained(tmp_path / "run", tiny_snapshot(tiny_config(**settings)))
    more = tiny_config(**{**settings, "federated": {"num_rounds": 3}})
    with pytest.raises(CheckpointError, match=r"2 rounds that were planned, .* cannot become 3"):
        TrainingRun.resume(tmp_path / "run", more)


def test_what_a_run_costs_is_known_before_it_starts(run: TrainingRun) -> None:
    config = run.snapshot.config
    found = planned(config)
    assert found is not None
    assert found.epsilon == ACCOUNTANT.epsilon(len(run.directory.read_metrics()))
    assert (found.delta, found.protected) == (1e-6, ("weights",))
    assert planned(tiny_config()) is None
    both = cost(config, weights=3.0, transitions=2.0)
    assert both is not None
    assert (both.epsilon, both.protected) == (5.0, ("weights", "transitions"))


ALL = {
    "privacy": {"weights_epsilon": 8, "prototypes_epsilon": 2, "transitions_epsilon": 1, "prototypes_clip": 5.0},
    "federated": {"num_rounds": 9, "patience": 50},
}


def test_all_budgets_in_one_run_are_spent_to_their_ends_and_add_up(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", tiny_snapshot(tiny_config(**ALL)))
    assert run.server.budget is not None
    assert "and the prototypes epsilon 2 beside it, in 9 rounds with noise of" in run.server.budget.sentence
    lines = [line["metrics"] for line in run.directory.read_metrics()]
    assert len(lines) == 9
    spent = {part: [line[f"epsilon_{part}"] for line in lines] for part in ("weights", "prototypes", "transitions")}
    assert all(one == sorted(one) for one in spent.values())
    ends = {part: one[-1] for part, one in spent.items()}
    assert ends == {part: pytest.approx(most, rel=1e-3) for part, most in zip(spent, (8, 2, 1), strict=True)}
    both = run.server.budget
    assert both.prototypes is not None
    noise = together(both.weights.noise, both.prototypes.noise)
    assert ends["weights"] + ends["prototypes"] == Accountant(noise, 0.5, 0.5e-6).epsilon(9) <= 10
    found = planned(run.snapshot.config)
    assert found is not None
    assert found.epsilon == pytest.approx(11, rel=1e-3)
    assert (found.delta, found.protected) == (1e-6, ("weights", "prototypes", "transitions"))
    more = tiny_config(**{**ALL, "privacy": {**ALL["privacy"], "weights_epsilon": None, "weights_noise": 1.0}})
    assert planned(more) is not None


def test_prototypes_end_training_too(tmp_path: Path) -> None:
    privacy = {"weights_noise": 3.0, "prototypes_epsilon": 4, "prototypes_noise": 2.0}
    run = trained(tmp_path / "run", tiny_snapshot(tiny_config(privacy=privacy, federated={"num_rounds": 20})))
    ended, alone = len(run.directory.read_metrics()), Accountant(2.0, 0.5, 1e-6)
    assert 1 < ended < 20
    assert alone.epsilon(ended) <= 4 < alone.epsilon(ended + 1)
    assert run.server.budget is not None
    assert run.server.budget.settings == "privacy.prototypes_epsilon"


def test_with_a_budget_for_metrics_rounds_tell_none_of_training_and_what_validations_spent(tmp_path: Path) -> None:
    privacy = {"weights_noise": 1.0, "metrics_epsilon": 3}
    settings = {**PRIVATE, "privacy": privacy, "federated": {"num_rounds": 6}, "evaluation": {"eval_every": 2}}
    run = trained(tmp_path / "run", tiny_snapshot(tiny_config(**settings)))
    lines = [line["metrics"] for line in run.directory.read_metrics()]
    assert not {name for line in lines for name in line if "loss" in name or "surprise" in name}
    spent = [line["epsilon_metrics"] for line in lines]
    assert spent == sorted(spent)
    assert spent[-1] == pytest.approx(3, rel=1e-3)
    found = planned(run.snapshot.config)
    assert found is not None
    assert found.protected == ("weights", "metrics")
    assert found.delta == pytest.approx(1e-6)
    assert run.server.budget is not None
    assert "metrics are not protected" not in run.server.budget.sentence
    more = tiny_config(**{**settings, "federated": {"num_rounds": 8}})
    with pytest.raises(CheckpointError, match=r"privacy.metrics_epsilon = 3.0 is for evaluations in the 6 rounds"):
        TrainingRun.resume(tmp_path / "run", more)
