"""The table of transitions is whole, and its messages say what can be done."""

import itertools
from typing import get_args

import pytest

from fedmem.contracts.jobs import DesiredState, JobState
from fedmem.errors import ConflictError
from fedmem.storage.job_states import AT_REST, ENDED, TRANSITIONS, Wish, after_wish


def test_every_situation_named_exists():
    named = set(TRANSITIONS) | {to for row in TRANSITIONS.values() for to in row.values()}
    assert named <= set(itertools.product(get_args(JobState), get_args(DesiredState)))
    assert {wish for row in TRANSITIONS.values() for wish in row} == set(get_args(Wish))
    assert set(AT_REST) == set(get_args(DesiredState))


def test_what_is_wanted_already_changes_nothing():
    wants = {"stop": "stopped", "pause": "paused", "resume": "running"}
    for situation, row in TRANSITIONS.items():
        for wish, after in row.items():
            assert after[1] == wants[wish]
            if situation[1] == wants[wish]:
                assert after == situation


def test_a_stop_is_final():
    for situation, row in TRANSITIONS.items():
        if situation[1] == "stopped":
            assert set(row.values()) == {situation}


def test_only_a_trainer_changes_the_state_of_a_running_job():
    for (state, _), row in TRANSITIONS.items():
        if state == "running":
            assert {after for after, _ in row.values()} == {"running"}


@pytest.mark.parametrize("state", sorted(ENDED))
@pytest.mark.parametrize("wish", ["pause", "resume"])
def test_what_has_ended_stays_ended(state, wish):
    with pytest.raises(ConflictError, match=rf"job 7 is {state} and cannot be {wish}d; .* may start from it"):
        after_wish(7, (state, "stopped"), wish)


def test_a_stopping_job_says_so():
    with pytest.raises(ConflictError, match="job 7 is stopping and cannot be paused; wait for its end"):
        after_wish(7, ("running", "stopped"), "pause")
