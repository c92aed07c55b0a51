"""How far a job is and when it will be done, from its rounds."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from dashboard.words import duration, is_under_way
from fedmem.contracts import Job, RoundMetrics

RECENT = 20


def seconds_per_round(rounds: Sequence[RoundMetrics]) -> float | None:
    """Take the median of the last rounds, which a pause does not move; with a validation if there are no others."""
    return _typical(rounds, validated=False) or _typical(rounds, validated=True)


def _typical(rounds: Sequence[RoundMetrics], *, validated: bool) -> float | None:
    """Take the median of the last rounds with a validation, or without."""
    gaps = [
        (after.finished_at - before.finished_at).total_seconds()
        for before, after in pairwise(rounds)
        if ("validation" in after.metrics) == validated
    ]
    return median(gaps[-RECENT:]) if gaps else None


def seconds_left(job: Job, rounds: Sequence[RoundMetrics]) -> float | None:
    """Estimate the time left if it does all its rounds; patience may end it before."""
    pace = seconds_per_round(rounds)
    if pace is None or job.state != "running":
        return None
    done = job.clients_done / job.clients_selected if job.clients_selected else 0.0
    every = job.config.evaluation.eval_every
    validations = job.num_rounds // every - job.round // every
    dearer = (_typical(rounds, validated=True) or pace) - pace
    return max(0.0, job.num_rounds - job.round - done) * pace + validations * max(0.0, dearer)


def share_done(job: Job) -> float:
    """Give the progress between 0 and 1; a job that has ended is done."""
    if job.state == "succeeded":
        return 1.0
    if not job.num_rounds:  # of a job whose record is damaged
        return 0.0
    within = job.clients_done / job.clients_selected if job.clients_selected else 0.0
    return min(1.0, (job.round + within) / job.num_rounds)


def progress_line(job: Job, rounds: Sequence[RoundMetrics]) -> str:
    """Name rounds, clients of the round in progress, pace and time left, as far as they are known."""
    early = ", ended early" if job.state == "succeeded" and job.round < job.num_rounds else ""
    parts = [f"Round {job.round} of {job.num_rounds}{early}"]
    if job.state == "running" and job.clients_selected:
        parts.append(f"{job.clients_done} of {job.clients_selected} clients of the next one")
    pace, left = seconds_per_round(rounds), seconds_left(job, rounds)
    if pace is not None and is_under_way(job):
        parts.append(f"{pace:.1f} s per round")
    if left is not None:
        parts.append(f"about {duration(left)} left")
    return " · ".join(parts)
