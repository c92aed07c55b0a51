"""The log of a job's preparation: a line for each quarter of a stage, and a stop between two reports."""

import logging

import pytest

from trainer.stage_log import StageLog


def test_each_quarter_of_a_stage_is_one_line(caplog):
    caplog.set_level(logging.INFO, "trainer")
    told = StageLog(lambda: None)
    for done in range(0, 1001, 10):
        told("text features", done, 1000)
    told("preference texts", 1, 1)
    assert caplog.messages == [
        *(f"text features: {done} of 1,000" for done in (0, 250, 500, 750)),
        "text features: 1,000 of 1,000",
        "preference texts: 1 of 1",
    ]


def test_a_stop_is_heeded_at_every_report():
    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        StageLog(stop)("text features", 1, 1000)
