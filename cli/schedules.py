"""``fedmem schedules``: jobs that are queued again and again."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.table import Table

from cli.database import opened
from cli.options import AsJson, ConfigFile, DatabaseUrl, Overrides
from cli.screen import answer_json, answer_number, answers, in_utc, notes
from cli.unnamed_requests import what_becomes_of_them
from fedmem.times import written

if TYPE_CHECKING:
    from fedmem.storage.schedules import ScheduleStore

app = typer.Typer(
    help="Let models go on with the newest data, every night say: list, add, change, pause, resume, run and remove "
    "schedules. A trainer follows them.",
    no_args_is_help=True,
)

ScheduleId = Annotated[int, typer.Argument(metavar="SCHEDULE", help="As `fedmem schedules list` shows it.")]
NEXT = "next (UTC)"
CRON = "When: minute, hour, day of the month, month and day of the week in quotes, such as '0 3 * * *'."
TIMEZONE = "In which the times are read, such as Europe/Berlin."
ROUNDS = "For how many rounds the model in service goes on each time."
Promotion = Annotated[
    Literal["auto", "gate", "manual"] | None,  # PromotionMode, whose module reads pydantic
    typer.Option(help="How the models go into service; otherwise as FEDMEM_PROMOTION says."),
]


@app.command("list")
def show_schedules(database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List the schedules, when each is due, and what became of it last."""
    from backend.damaged_rows import shown
    from backend.schedule_rows import schedule_of

    with schedule_store(database_url) as store:
        rows = list(shown(schedule_of, store.all()))
    if as_json:
        answer_json([row.model_dump(mode="json") for row in rows])
        return
    if not rows:
        notes.print("no schedules yet: add one with fedmem schedules add --dataset NAME --cron '0 3 * * *'")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("id", "data set", "when", "zone", "rounds", NEXT, "last job"):
        table.add_column(name, no_wrap=name not in (NEXT, "last job"), overflow="fold")
    for row in rows:
        next_at = "paused" if row.paused or row.next_at is None else in_utc(row.next_at)
        job = "" if row.last_job is None else f"{row.last_job} {row.last_job_state}"
        table.add_row(str(row.id), row.dataset, row.cron, row.timezone, str(row.rounds), next_at, job)
    answers.print(table)
    for row in rows:
        if row.trouble is not None:
            notes.print(f"schedule {row.id}: {row.trouble}")


@app.command()
def add(
    dataset: Annotated[str, typer.Option(metavar="NAME", help="An imported data set.")],
    cron: Annotated[str, typer.Option("--cron", metavar="CRON", help=CRON)],
    timezone: Annotated[str, typer.Option(metavar="ZONE", help=TIMEZONE)] = "UTC",
    rounds: Annotated[int, typer.Option(min=1, max=1_000_000, help=ROUNDS)] = 20,
    config: ConfigFile = None,
    overrides: Overrides = None,
    promotion: Promotion = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Add a schedule, and print its number. --config and --set are for a first job, where no model serves yet."""
    from fedmem.config_reader import load_config, with_defaults_of
    from fedmem.privacy.startable import check_startable
    from fedmem.storage.settings import StorageSettings

    said, defaults = load_config(config, overrides or ()), StorageSettings.load().job_config
    check_startable(with_defaults_of(defaults, said))
    told = said.model_dump(mode="json", exclude_unset=True)
    with schedule_store(database_url) as store:
        values: dict[str, Any] = {"timezone": timezone, "rounds": rounds, "config": told, "promotion": promotion}
        refused = what_becomes_of_them(store.engine, dataset)
        row = store.create(dataset=dataset, cron=cron, defaults=defaults, **values)
    answer_number(row.id, f"schedule {row.id} is added")
    notes.print(f"due at {_local(row.next_at, row.timezone)} next")
    if refused:
        notes.print(refused)


@app.command()
def change(
    schedule: ScheduleId,
    cron: Annotated[str | None, typer.Option("--cron", metavar="CRON", help=CRON)] = None,
    timezone: Annotated[str | None, typer.Option(metavar="ZONE", help=TIMEZONE)] = None,
    rounds: Annotated[int | None, typer.Option(min=1, max=1_000_000, help=ROUNDS)] = None,
    promotion: Promotion = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Change a schedule; what is not given stays as it is."""
    given = {"cron": cron, "timezone": timezone, "rounds": rounds, "promotion": promotion}
    _change(database_url, schedule, {name: value for name, value in given.items() if value is not None})


@app.command()
def pause(schedule: ScheduleId, database_url: DatabaseUrl = None) -> None:
    """Let a schedule rest; what is missed meanwhile is not made up for."""
    _change(database_url, schedule, {"paused": True})


@app.command()
def resume(schedule: ScheduleId, database_url: DatabaseUrl = None) -> None:
    """Let a paused schedule go on, from its next time on."""
    _change(database_url, schedule, {"paused": False})


@app.command()
def run(schedule: ScheduleId, database_url: DatabaseUrl = None) -> None:
    """Queue the job of a schedule at once, and print the job's number; when it is due next stays."""
    from fedmem.storage.schedule_runs import ScheduleRuns
    from fedmem.storage.settings import StorageSettings

    settings = StorageSettings.load()
    with schedule_store(database_url) as store:
        job = ScheduleRuns(store, settings.data_dir, settings.job_memory, settings.job_config).now(schedule)
    answer_number(job.id, f"job {job.id} is queued")


@app.command()
def remove(schedule: ScheduleId, database_url: DatabaseUrl = None) -> None:
    """Remove a schedule; its jobs stay, and one that is queued or running goes on."""
    with schedule_store(database_url) as store:
        store.remove(schedule)
    notes.print(f"schedule {schedule} is removed")


@contextmanager
def schedule_store(url: str | None) -> "Iterator[ScheduleStore]":
    """Open the schedules of a database; ``StorageError`` if it is at another schema."""
    from fedmem.storage.schedules import ScheduleStore

    with opened(url) as engine:
        yield ScheduleStore(engine)


def _change(url: str | None, schedule: int, values: dict[str, Any]) -> None:
    with schedule_store(url) as store:
        row = store.change(schedule, **values)
    when = "paused" if row.paused else f"due at {_local(row.next_at, row.timezone)} next"
    notes.print(f"schedule {row.id} is {when}")


def _local(moment: datetime | float | None, timezone: str) -> str:
    """Write a time as the schedule's zone has it, and name the zone; nothing for none."""
    if moment is None:
        return ""
    moment = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment, UTC)
    zone: tzinfo = UTC
    with suppress(ZoneInfoNotFoundError, ValueError):  # of a row that was damaged
        zone = ZoneInfo(timezone)
    there = moment.astimezone(zone)
    return f"{written(there, datetime.now(UTC))} {there:%Z}"
