"""Jobs side by side: what sets them apart, and what their models reach on test."""

from collections.abc import Mapping, Sequence

from backend.job_rows import numbers
from backend.stored_config import read_config
from fedmem.contracts import Difference, JobComparison
from fedmem.serving import ComparedRun, compare_runs
from fedmem.storage.jobs import JobRow
from fedmem.storage.models import ModelStore


def comparison_of(rows: Sequence[JobRow], models: ModelStore, metrics: Sequence[str] = ()) -> JobComparison:
    """Compare jobs.

    Raises:
        ConflictError: naming why their figures do not compare.
        ConfigError: if there are fewer than two, or one of them twice.
    """
    found = compare_runs([_run(row) for row in rows], metrics)
    tests = [_test(row, models) for row in rows]
    return JobComparison(
        jobs=tuple(row.id for row in rows),
        dataset=rows[0].dataset,
        metrics=tuple(found.metrics),
        test={name: tuple(test.get(name) for test in tests) for name in found.metrics},
        differences=tuple(Difference(name=name, values=tuple(values)) for name, values in found.differences.items()),
        note=found.note,
    )


def _run(row: JobRow) -> ComparedRun:
    config, _ = read_config(row.config)
    return ComparedRun(f"job {row.id}", row.dataset, config, row.snapshot_digest, row.start_from)


def _test(row: JobRow, models: ModelStore) -> Mapping[str, float]:
    """Look up what the job's model reaches on test; nothing for a job that was not tested."""
    return {} if row.model_version is None else numbers(models.get(row.model_version).metrics).get("test", {})
