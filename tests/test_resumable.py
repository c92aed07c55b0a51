"""What may change where a run goes on, and that anything else is refused by its name."""

from typing import Any

import pytest

from fedmem.config import ExperimentConfig
from fedmem.errors import CheckpointError, ConfigError
from fedmem.resumable import RESUMABLE, check_continuable, check_resumable, refuse_budgets
from tests.tiny import tiny_config

OFTEN = {"evaluation": {"eval_every": 1}}
LONGER = {"save_dir": "elsewhere", "save_interval": 2, "federated": {"num_rounds": 99, "patience": 3}}


def test_what_does_not_change_numbers_may_change() -> None:
    check_resumable(tiny_config(), tiny_config(log_interval=3, **LONGER))
    assert {
        "device",
        "workers",
        "save_dir",
        "log_interval",
        "save_interval",
        "federated.num_rounds",
        "federated.patience",
        "flower.minimum_nodes",
        "flower.patience",
        "flower.wait",
    } == RESUMABLE


def test_a_run_goes_on_in_processes_or_actors_and_not_at_nodes() -> None:
    check_resumable(tiny_config(), tiny_config(engine="ray"))
    check_resumable(tiny_config(engine="ray"), tiny_config())
    with pytest.raises(CheckpointError, match="engine was 'ray' when the run started and is now 'flower'"):
        check_resumable(tiny_config(engine="ray"), tiny_config(engine="flower"))
    with pytest.raises(CheckpointError, match=r"federated\.shards was 1 when"):
        check_resumable(tiny_config(), tiny_config(federated={"shards": 2}))


def test_what_changes_numbers_is_refused_by_its_name() -> None:
    with pytest.raises(CheckpointError, match=r"^seed was 42 when the run started and is now 7\. Resume"):
        check_resumable(tiny_config(seed=42), tiny_config(seed=7))
    for newest in (True, False):
        with pytest.raises(ConfigError, match=r"^seed was 42 when job 3 began and is now 7: leave it"):
            check_continuable(tiny_config(seed=42), tiny_config(seed=7), 3, newest=newest)


def test_a_model_that_goes_on_with_newer_data_may_be_validated_more_often() -> None:
    check_continuable(tiny_config(), tiny_config(**LONGER), 3, newest=False)
    check_continuable(tiny_config(), tiny_config(**OFTEN), 3, newest=True)
    with pytest.raises(ConfigError, match=r"evaluation.eval_every was"):
        check_continuable(tiny_config(), tiny_config(**OFTEN), 3, newest=False)


def private(name: str, **changes: Any) -> ExperimentConfig:
    config = tiny_config(**changes)
    return config.model_copy(update={"privacy": config.privacy.model_copy(update={name: 2.0})})


@pytest.mark.parametrize("name", ["weights_epsilon", "transitions_epsilon", "metrics_epsilon"])
def test_a_spent_budget_is_not_spent_on_newer_data(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"privacy.{name} = 2.0 was spent .* train anew"):
        refuse_budgets(private(name).privacy)
    with pytest.raises(ConfigError, match=rf"privacy.{name} = 2.0 was spent"):
        check_continuable(private(name), private(name, **LONGER), 3, newest=True)


def test_noise_that_was_computed_for_some_rounds_is_not_added_in_more() -> None:
    with pytest.raises(ConfigError, match=r"rounds that were planned, .* cannot become 99: leave it as job 3 has it"):
        check_continuable(private("weights_epsilon"), private("weights_epsilon", **LONGER), 3, newest=False)
