"""What the command line prints: answers on stdout, everything else on stderr."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column

from fedmem.errors import FedMemError
from fedmem.logs import logs_as_json
from fedmem.times import written

# Titles, ids and paths stand as they are: no [markup] and no :emoji: in them.
answers = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
notes = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


def explain(error: FedMemError) -> None:
    """Print one line for an error that the user can mend; a service's log has it as all else."""
    if logs_as_json():
        logging.getLogger("cli").error("%s", " ".join(str(error).split()))
        return
    notes.print("error:", style="bold red", end=" ")
    notes.print(" ".join(str(error).split()))


def answer_json(value: Any) -> None:
    """Print a value for a program to read; characters that the output's encoding lacks are escaped, so none is lost."""
    answers.print(json.dumps(value, ensure_ascii=not answers.encoding.lower().startswith("utf")))


def answer_number(number: int, sentence: str) -> None:
    """Print what has become of a number: a sentence to a reader at a terminal, the number alone to a script."""
    answers.print(sentence if sys.stdout.isatty() else str(number))


def replace_what_the_encoding_lacks() -> None:
    """Show question marks for what a terminal's encoding lacks, rather than fail on a title."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def show_log() -> None:
    """Let the log lines of the library and of the trainer through to stderr."""
    for name in ("cli", "fedmem", "trainer"):
        logger = logging.getLogger(name)
        logger.handlers = [_Notes()]
        logger.setLevel(logging.INFO)


class _Notes(logging.Handler):
    """Log lines as notes, so that they pass above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        warning = "warning: " if record.levelno >= logging.WARNING else ""
        notes.print(f"{warning}{record.getMessage()}")


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar per named stage: ``advance(stage, done, total)``."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done, total=total)

        yield advance


@contextmanager
def download(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar for a download: ``advance(done, total)`` in bytes."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=notes) as progress:
        task = progress.add_task(f"fetching {name}", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def in_utc(moment: datetime) -> str:
    """Write a time of a list, whose column says that it is UTC."""
    return written(moment.astimezone(UTC), datetime.now(UTC))


def counted(number: int, thing: str) -> str:
    """Write a number with its noun: 1 item, 2 items, 1,000 items."""
    return f"{number:,} {thing}" + "s" * (number != 1)


@contextmanager
def rounds(total: int, done: int) -> Iterator[Callable[[int, str], None]]:
    """Show a bar for training rounds with a column of metrics: ``advance(round, metrics)``."""
    columns = (
        SpinnerColumn(),
        TextColumn("round"),
        MofNCompleteColumn(table_column=Column(min_width=2 * len(str(total)) + 1)),  # the last to give way
        BarColumn(bar_width=20),
        TextColumn("{task.fields[metrics]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=notes, disable=not notes.is_terminal) as progress:
        task = progress.add_task("rounds", total=total, completed=done, metrics="")
        yield lambda number, metrics: progress.update(task, completed=number, metrics=metrics)
