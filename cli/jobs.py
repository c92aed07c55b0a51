"""``fedmem jobs``: the jobs in the database."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from cli.database import opened
from cli.job_comparison import compare
from cli.job_start import start
from cli.options import AsJson, DatabaseUrl, ServiceDir, Yes, runs_in
from cli.removing import ask, remove_jobs, show_removable
from cli.screen import answer_json, answers, in_utc, notes
from fedmem.errors import ConfigError

if TYPE_CHECKING:
    from fedmem.contracts import Job
    from fedmem.storage.jobs import JobRow, JobStore

app = typer.Typer(help="Queue, watch, pause, resume, stop, compare and remove training jobs.", no_args_is_help=True)

app.command()(start)
app.command()(compare)

QUEUED = "queued (UTC)"
TIMES = "created_at", "started_at", "finished_at"

JobId = Annotated[int, typer.Argument(metavar="JOB", help="As `fedmem jobs list` shows it.")]


@app.command("list")
def show_jobs(database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List the newest jobs."""
    from backend.job_rows import job_of

    with job_store(database_url) as store:
        rows = list(map(job_of, store.page()))
    if as_json:
        answer_json([summary(row) for row in rows])
        return
    if not rows:
        notes.print("no jobs yet: queue one with fedmem jobs start --dataset NAME")
        return
    table = Table()
    for name in ("job", "kind", "data set", "state", "round", "best", "model", QUEUED):
        table.add_column(name, no_wrap=name not in ("data set", "model", QUEUED), overflow="fold")
    for row in rows:
        rounds, best = f"{row.round}/{row.num_rounds}", str(row.best_round or "")
        queued = in_utc(row.created_at)
        table.add_row(str(row.id), row.kind, row.dataset, state_of(row), rounds, best, _model(row), queued)
    answers.print(table)


def _model(row: "Job") -> str:
    """Name the model that a job left, and say whether it waits to be put into service."""
    return f"{row.model_version or ''}{', waits' if row.model_waits else ''}"


@app.command()
def show(job: JobId, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show one job: how far it is, when it was queued, started and ended, why it ended, its traceback if it failed."""
    from backend.job_rows import job_of

    with job_store(database_url) as store:
        row = store.get(job)
    found = job_of(row)
    if as_json:
        answer_json(summary(found) | {"config": row.config, "traceback": row.traceback})
        return
    times = {name: f"{in_utc(at)} UTC" for name in TIMES if (at := getattr(found, name)) is not None}
    for name, value in (summary(found) | times).items():
        answers.print(f"{name:<16}{'' if value is None else value}")
    if row.traceback:
        answers.print(f"\n{row.traceback}", end="")


@app.command()
def stop(job: JobId, database_url: DatabaseUrl = None) -> None:
    """End a job within two seconds; its last checkpoint stays, and another job may start from it."""
    _wish(database_url, job, "stop")


@app.command()
def pause(job: JobId, database_url: DatabaseUrl = None) -> None:
    """Let a job rest."""
    _wish(database_url, job, "pause")


@app.command()
def resume(job: JobId, database_url: DatabaseUrl = None) -> None:
    """Let a paused job go on."""
    _wish(database_url, job, "resume")


@app.command()
def remove(
    jobs: Annotated[
        list[int] | None, typer.Argument(metavar="JOB..", help="Ended jobs, as `fedmem jobs list` shows them.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Instead: all ended jobs but the newest N.")
    ] = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Instead: jobs that ended more than so many days ago.")
    ] = None,
    yes: Yes = False,
    data_dir: ServiceDir = Path("runs/service"),
    database_url: DatabaseUrl = None,
) -> None:
    """Remove ended jobs with their models, rounds and logs, after showing what they take on the disk.

    One whose model is in service is not removed. --keep and --older-than leave out the model that a rollback serves.
    """
    from fedmem.storage.job_removal import JobRemoval

    by_rule = keep is not None or older_than is not None
    if bool(jobs) == by_rule:
        raise ConfigError("name the jobs to remove, or give --keep or --older-than")
    with opened(database_url) as engine:
        removal = JobRemoval(engine, runs_in(data_dir))
        found = removal.look(removal.beyond(keep, older_than) if by_rule else jobs or [])
        if not found:
            notes.print("there is no such job to remove")
            return
        show_removable(found)
        ask("Remove for good?", yes=yes)
        remove_jobs(removal, [one.job.id for one in found], "by hand")
    notes.print("removed")


@app.command("logs")
def show_log(
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the job has ended.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show a job's log, with times in UTC."""
    with job_store(database_url) as store:
        last = 0
        while True:
            row = store.get(job)
            while lines := store.logs(job, after_id=last):
                if not last:
                    notes.print("times are in UTC")
                for line in lines:
                    at = datetime.fromtimestamp(line.time, UTC)
                    answers.print(f"{at:%d %b %H:%M:%S} {line.level} {line.message}")
                last = lines[-1].id
            if not follow or row.state in ("succeeded", "failed", "stopped"):
                return
            time.sleep(0.5)


@contextmanager
def job_store(url: str | None) -> "Iterator[JobStore]":
    """Open the jobs of a database; ``StorageError`` if it is at another schema."""
    from fedmem.storage.jobs import JobStore

    with opened(url) as engine:
        yield JobStore(engine)


def state_of(row: "Job | JobRow") -> str:
    """Say what the job does and, as long as its trainer has not heard of it, what its user wants."""
    waits = row.state == "running" and row.desired_state != "running"
    return f"{row.state}, to be {row.desired_state}" if waits else row.state


def _wish(url: str | None, job: int, what: Literal["stop", "pause", "resume"]) -> None:
    with job_store(url) as store:
        row: JobRow = {"stop": store.stop, "pause": store.pause, "resume": store.resume}[what](job)
    notes.print(f"job {row.id} is {state_of(row)}")


def summary(row: "Job") -> dict[str, Any]:
    """Return what a reader wants to know about a job."""
    names = (
        "id", "kind", "dataset", "state", "desired_state", "round", "num_rounds", "best_round", "worker", "attempts",
        "start_from", "snapshot", "snapshot_digest", "promotion", "model_version", "model_waits", "message",
    )  # fmt: skip
    return {name: getattr(row, name) for name in names} | row.model_dump(mode="json", include=set(TIMES))
