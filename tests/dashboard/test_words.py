"""The table of jobs has a place for a run of every rung and control."""

import pytest

from dashboard.views.experiments import LADDER
from fedmem.config import ExperimentConfig
from fedmem.rungs import RUNGS, Rung, model_title, rung_config


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_a_job_of_every_rung_has_its_place_in_the_table(rung: Rung):
    assert model_title(rung_config(rung, ExperimentConfig(), 943, 42)) in LADDER
