"""Shows what is to be removed and what of the disk that frees, asks, and removes it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from cli.screen import counted, notes

if TYPE_CHECKING:
    from fedmem.storage.job_removal import JobRemoval, RemovalCandidate


def megabytes(size: int) -> str:
    """Write a size on the disk."""
    return f"{size / 2**20:,.1f} MiB"


def show_removable(found: "Sequence[RemovalCandidate]") -> None:
    """List jobs with their models and what their folders take."""
    table = Table()
    for name in ("job", "data set", "state", "rounds", "model"):
        table.add_column(name, overflow="fold")
    table.add_column("disk", justify="right")
    for one in found:
        job = one.job
        model = f"{job.model_version or ''}{f', {one.use}' if one.use else ''}"
        table.add_row(str(job.id), job.dataset, job.state, str(job.round), model, megabytes(one.size))
    notes.print(table)
    notes.print(f"{counted(len(found), 'job')}, {megabytes(sum(one.size for one in found))} on the disk")


def ask(question: str, *, yes: bool) -> None:
    """Go on only with leave, given beforehand or now."""
    if not yes:
        typer.confirm(question, abort=True, err=True)


def remove_jobs(removal: "JobRemoval", job_ids: Sequence[int], reason: str, *, even_in_service: bool = False) -> None:
    """Remove jobs, those that go on from others first."""
    for job_id in sorted(job_ids, reverse=True):
        removal.remove(job_id, reason, even_in_service=even_in_service)
