"""How far a job is and when it will be done, from its rounds."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, median

from dashboard.words import duration, is_under_way
from fedmem.contracts import Job, RoundMetrics

RECENT, VALIDATIONS = 10, 3  # rounds that are looked at, and of these that validate
PAUSE = 5  # times as long as usual: the job stood still
PHASES = {"preparing": "its data is read and its texts are encoded", "testing": "its best model is tested and judged"}


def seconds_per_round(rounds: Sequence[RoundMetrics]) -> float | None:
    """Take the mean of the last rounds but those with a pause; with a validation if there are no others."""
    return _typical(rounds, RECENT, validated=False) or _typical(rounds, VALIDATIONS, validated=True)


def _typical(rounds: Sequence[RoundMetrics], count: int, *, validated: bool) -> float | None:
    """Take the mean of so many last rounds with a validation, or without: how busy the machine was before says little.

    A round that took much longer than the others is left out, as a pause.
    """
    gaps: list[float] = []
    for before, after in pairwise(reversed(rounds)):  # the later one first
        if ("validation" in before.metrics) == validated:
            gaps.append((before.finished_at - after.finished_at).total_seconds())
            if len(gaps) == count:
                break
    usual = [gap for gap in gaps if gap <= PAUSE * median(gaps)]
    return mean(usual) if usual else None


def seconds_left(job: Job, rounds: Sequence[RoundMetrics]) -> float | None:
    """Estimate the time left if it does all its rounds; patience may end it before."""
    pace = seconds_per_round(rounds)
    if pace is None or job.state != "running" or job.phase == "testing":
        return None
    done = job.clients_done / job.clients_selected if job.clients_selected else 0.0
    every = job.config.evaluation.eval_every
    validations = job.num_rounds // every - job.round // every
    dearer = (_typical(rounds, VALIDATIONS, validated=True) or pace) - pace
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
    if job.phase in PHASES:
        parts.append(PHASES[job.phase])
    elif job.state == "running" and job.clients_selected:
        parts.append(_clients(job))
    pace, left = seconds_per_round(rounds), seconds_left(job, rounds)
    if pace is not None and is_under_way(job) and job.phase != "testing":
        parts.append(f"{pace:.1f} s per round")
    if left is not None:
        parts.append(f"about {duration(left)} left")
    return " · ".join(parts)


def _clients(job: Job) -> str:
    """Say how many clients of the next round are through; what follows the last one takes its time as well."""
    if job.clients_done >= job.clients_selected:
        return f"all {job.clients_selected} clients of the next one are through"
    return f"{job.clients_done} of {job.clients_selected} clients of the next one"
