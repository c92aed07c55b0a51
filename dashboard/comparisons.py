"""Jobs side by side: what sets them apart, and which do not compare, by the function that the API answers by."""

from collections.abc import Sequence

from fedmem.contracts import Job
from fedmem.errors import ConflictError
from fedmem.evaluation.comparable import ComparedRun, RunComparison, compare_runs


def compare_jobs(jobs: Sequence[Job]) -> RunComparison:
    """Find what sets jobs apart; ``ConflictError`` says why figures of two of them do not compare."""
    return compare_runs([_run(job) for job in jobs])


def why_not(one: Job, other: Job) -> str | None:
    """Say why the figures of two jobs do not compare; None where they do."""
    try:
        compare_jobs([one, other])
    except ConflictError as error:
        return str(error)
    return None


def comparable(jobs: Sequence[Job]) -> list[list[Job]]:
    """Group jobs by whose figures compare, in the order of the first of each group."""
    groups: list[list[Job]] = []
    for job in jobs:
        group = next((group for group in groups if why_not(group[0], job) is None), None)
        if group is None:
            groups.append([job])
        else:
            group.append(job)
    return groups


def _run(job: Job) -> ComparedRun:
    return ComparedRun(f"job {job.id}", job.dataset, job.config, job.snapshot_digest, job.start_from)
