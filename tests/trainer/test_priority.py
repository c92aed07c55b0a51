"""A trainer steps back, and its session with it where Linux shares the processor among sessions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.priority import AUTOGROUP

STEP_BACK = """
import os
from pathlib import Path
from trainer.priority import AUTOGROUP, step_back
step_back(7)
print(os.nice(0), *(AUTOGROUP.read_text().split() if AUTOGROUP.exists() else []))
"""


def stepped_back(project_root: Path, *, own_session: bool) -> list[str]:
    """The process's niceness and then, where there are such, its session's group, the word nice, and its niceness."""
    process = subprocess.run(
        [sys.executable, "-c", STEP_BACK],
        cwd=project_root,
        start_new_session=own_session,
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout.split()


def test_a_trainer_becomes_nicer(project_root):
    assert int(stepped_back(project_root, own_session=False)[0]) == min(os.nice(0) + 7, 19)


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="Linux does not group processes by session here")
def test_a_session_of_its_own_becomes_nicer_and_a_shared_one_does_not(project_root):
    before = AUTOGROUP.read_text().split()
    assert stepped_back(project_root, own_session=True)[-1] == "7"
    assert stepped_back(project_root, own_session=False)[1:] == before


BOUNDED = """
import torch
from fedmem.process_memory import bound_memory
from trainer.run_experiment import NO_MEMORY
bound_memory(2**30)
try:
    torch.zeros(2**29)
except RuntimeError as error:
    print(NO_MEMORY in str(error))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no other system bounds a process's memory so")
def test_what_goes_beyond_the_bound_of_memory_is_an_error_that_is_known_for_what_it_is(project_root):
    process = subprocess.run(
        [sys.executable, "-c", BOUNDED], cwd=project_root, capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "True"
