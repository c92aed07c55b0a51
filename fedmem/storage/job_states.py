"""What may become of a job: the one table of what its user may ask, and where a job comes to rest.

``state`` is what the job does, ``desired_state`` what its user wants of it. Where no trainer holds the job a wish is
granted at once; a running job's trainer grants it at its next heartbeat.
"""

from collections.abc import Mapping
from typing import Literal

from fedmem.contracts.jobs import DesiredState, JobState
from fedmem.errors import ConflictError

Wish = Literal["stop", "pause", "resume"]
Situation = tuple[JobState, DesiredState]
EndState = Literal["succeeded", "failed", "stopped"]

# By (state, desired state): each wish that is possible, and what it leads to. To ask again is no error.
TRANSITIONS: Mapping[Situation, Mapping[Wish, Situation]] = {
    ("queued", "running"): {
        "stop": ("stopped", "stopped"),
        "pause": ("paused", "paused"),
        "resume": ("queued", "running"),
    },
    ("running", "running"): {
        "stop": ("running", "stopped"),
        "pause": ("running", "paused"),
        "resume": ("running", "running"),
    },
    ("running", "paused"): {
        "stop": ("running", "stopped"),
        "pause": ("running", "paused"),
        "resume": ("running", "running"),
    },
    ("running", "stopped"): {"stop": ("running", "stopped")},
    ("paused", "paused"): {
        "stop": ("stopped", "stopped"),
        "pause": ("paused", "paused"),
        "resume": ("queued", "running"),
    },
    ("stopped", "stopped"): {"stop": ("stopped", "stopped")},
}

# What a running job becomes when its trainer lets go of it, by what its user wants.
AT_REST: Mapping[DesiredState, JobState] = {"running": "queued", "paused": "paused", "stopped": "stopped"}

ENDED: frozenset[JobState] = frozenset({"succeeded", "failed", "stopped"})

_PAST = {"stop": "stopped", "pause": "paused", "resume": "resumed"}


def after_wish(job_id: int, now: Situation, wish: Wish) -> Situation:
    """Return the situation that a wish leads to.

    Raises:
        ConflictError: if it is not possible now; the message says what is.
    """
    possible = TRANSITIONS.get(now, {})
    if wish in possible:
        return possible[wish]
    raise ConflictError(f"job {job_id} {_situation(now)} and cannot be {_PAST[wish]}; {_remedy(now)}")


def _situation(now: Situation) -> str:
    state, desired = now
    return "is stopping" if state == "running" and desired == "stopped" else f"is {state}"


def _remedy(now: Situation) -> str:
    if now[0] in ENDED:
        return "it has ended: queue a new job, which may start from it"
    return "wait for its end, then queue a new job that starts from it"
