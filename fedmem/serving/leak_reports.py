"""What attacks on a job's messages found out, kept beside its run."""

from pathlib import Path

from fedmem.checkpoint.atomic_files import read_json, reading, write_json
from fedmem.contracts import LeakReport

LEAKS = "leaks.json"


def write_leaks(folder: Path, report: LeakReport) -> None:
    """Keep a report in a run's folder, in the place of one before."""
    write_json(folder / LEAKS, report.model_dump(mode="json"))


def read_leaks(folder: Path) -> LeakReport | None:
    """Read the report of a run's folder; None where no attack was made.

    Raises:
        CheckpointError: if it is damaged.
    """
    if not (folder / LEAKS).exists():
        return None
    with reading(folder / LEAKS):
        return LeakReport.model_validate(read_json(folder / LEAKS))
