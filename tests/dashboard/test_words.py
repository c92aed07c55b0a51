"""Runs have the names of the ladder's rungs and controls, and the table of jobs has a place for each."""

import pytest

from dashboard.views.experiments import LADDER
from dashboard.words import variant
from fedmem.config import ExperimentConfig
from fedmem.rungs import RUNGS, Rung, rung_config


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_a_job_of_every_rung_has_its_place_in_the_table(rung: Rung):
    assert variant(rung_config(rung, ExperimentConfig(), 943, 42)) in LADDER
