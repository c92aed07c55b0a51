"""The rungs and controls are what the files in ``configs/`` say."""

from pathlib import Path

import pytest

from fedmem.config import ExperimentConfig
from fedmem.config_reader import load_config
from fedmem.errors import ConfigError
from fedmem.rungs import CONTROLS, LADDER, RUNGS, Rung, model_title, planned_runs, rung_config, variants
from tests.tiny import tiny_config

ML_100K_USERS = 943
BY_NAME = {rung.name: rung for rung in RUNGS}
CENTRALISED, TRANSITIONS = BY_NAME["centralised"], BY_NAME["transitions"]


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_a_rung_is_its_configuration_file(project_root: Path, rung: Rung):
    on_file = load_config(project_root / "configs" / f"{rung.name}.yaml")
    assert rung_config(rung, ExperimentConfig(), ML_100K_USERS, 42) == on_file


def test_a_rung_keeps_what_full_was_given():
    full = tiny_config(training={"loss": "bpr"}, ablation={"disable_contrastive": True})
    plan = planned_runs(full, 12, LADDER, (5, 6))
    assert [run.name for run in plan[: len(LADDER)]] == [f"{rung.name}-5" for rung in LADDER]
    assert [run.config.seed for run in plan] == [5] * len(LADDER) + [6] * len(LADDER)
    assert all(run.config.training == full.training for run in plan)
    assert all(run.config.ablation.disable_contrastive for run in plan)
    assert plan[len(LADDER) - 1].config == full.model_copy(update={"seed": 5})


@pytest.mark.parametrize(("clients", "batch"), [(12, 6), (1, 1)])
def test_pooled_training_takes_the_cohort_as_its_batch(clients, batch):
    federated = rung_config(CENTRALISED, tiny_config(), clients, 42).federated
    assert (federated.centralised_batch, federated.client_fraction) == (batch, 1.0)


def test_a_short_ladder_still_validates_its_pooled_rung():
    config = tiny_config(federated={"num_rounds": 1, "client_fraction": 0.1}, evaluation={"eval_every": 1})
    pooled = rung_config(CENTRALISED, config, 12, 42)
    assert (pooled.federated.num_rounds, pooled.evaluation.eval_every) == (1, 1)


def test_a_setting_that_a_rung_cannot_have_is_named_with_the_rung():
    config = tiny_config(features={"preference_text": "required"})
    with pytest.raises(ConfigError, match=r"the rung transitions: .*preference_text is required"):
        rung_config(TRANSITIONS, config, 12, 42)


def test_full_is_the_last_of_a_table_that_has_the_controls_too():
    assert set(RUNGS) == {*LADDER, *CONTROLS}
    assert RUNGS[-1] == LADDER[-1] == BY_NAME["fedmem_full"]
    titles = [title for rung in RUNGS for title in (rung.title, rung.without) if title]
    assert len(set(titles)) == len(titles), "models of one title would be one row"


def test_a_control_trains_its_share_of_the_rounds_that_were_asked_for():
    asked = tiny_config(federated={"num_rounds": 50})
    rounds = {rung.name: rung_config(rung, asked, 12, 42).federated.num_rounds for rung in CONTROLS}
    assert rounds.pop("fedavg_original") == 15
    assert set(rounds.values()) == {50}
    shortest = tiny_config(federated={"num_rounds": 1})
    assert rung_config(BY_NAME["fedavg_original"], shortest, 12, 42).federated.num_rounds == 1


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_a_run_has_the_name_of_its_rung(rung: Rung):
    assert model_title(rung_config(rung, ExperimentConfig(), 943, 7)) == rung.title


def test_a_model_without_transitions_has_the_name_that_the_ladder_gives_it():
    config = load_config(None, ["ablation.disable_transitions=true", "training.learning_rate=.5"])
    assert model_title(config) == "FedAvg-SASRec"


@pytest.mark.parametrize(
    ("base", "prefix"), [("fedmem_full", ""), ("transitions", "transitions-"), ("sasrec", "sasrec-")]
)
def test_one_setting_is_varied_of_the_rung_that_is_meant(base: str, prefix: str):
    config, (rung,) = tiny_config(), [one for one in RUNGS if one.name == base]
    (varied,) = variants(config, [("training.loss", [config.training.loss, "bpr"])], rung)
    assert (varied.name, varied.title) == (f"{prefix}training.loss-bpr", f"{rung.title}, training.loss = bpr")
    before, after = (rung_config(one, config, 10, 1).settings() for one in (rung, varied))
    assert {name for name in before if before[name] != after[name]} == {"training.loss"}
