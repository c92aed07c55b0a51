"""The table of jobs has a place for a run of every rung and control."""

import pytest

from dashboard.views.experiments import LADDER
from dashboard.words import difference, share, sizes
from fedmem.config import ExperimentConfig
from fedmem.rungs import RUNGS, Rung, model_title, rung_config


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_a_job_of_every_rung_has_its_place_in_the_table(rung: Rung):
    assert model_title(rung_config(rung, ExperimentConfig(), 943, 42)) in LADDER


def test_sizes_below_each_other_are_in_one_unit():
    assert sizes([182_000, 3_600, 0]) == ["182.0 KB", "3.6 KB", "0"]
    assert sizes([1_000_000, 30_000]) == ["1.0 MB", "< 0.1 MB"]
    assert sizes([12, 999]) == ["12 bytes", "999 bytes"]
    assert sizes([]) == []


@pytest.mark.parametrize(
    ("value", "alone", "beside"),
    [
        (0.8467, ".847", "+.847"),
        (-0.029, "−.029", "−.029"),
        (1.0, "1.000", "+1.000"),
        (-1.25, "−1.250", "−1.250"),
        (0.0, ".000", ".000"),
        (-0.0004, ".000", ".000"),
    ],
)
def test_figures_have_no_nought_before_the_point_and_a_minus_that_is_one(value, alone, beside):
    assert (share(value), difference(value)) == (alone, beside)
