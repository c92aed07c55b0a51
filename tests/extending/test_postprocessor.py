"""The recipe of a postprocessor: one file, and every client's update goes through it."""

import json
from pathlib import Path

import pytest

from tests.extending.recipes import recipe

NORM = 8.0


def test_clipping_what_a_client_sends_is_one_file(tmp_path: Path) -> None:
    found = recipe("Clipping or noise of what clients send")
    assert len(found.changes) == 1
    told = json.loads(found.carry_out(tmp_path).run("clipped_training.py", str(NORM)))
    assert len(told["before"]) == len(told["after"]) == told["clients"] > 0
    assert max(told["before"]) > NORM > min(told["before"])
    for before, after in zip(told["before"], told["after"], strict=True):
        assert after == pytest.approx(min(before, NORM), rel=1e-5)
