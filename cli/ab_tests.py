"""``fedmem ab``: two models that share a data set's users."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli.database import opened
from cli.options import AsJson, DatabaseUrl
from cli.screen import answer_json, answer_number, answers, in_utc, notes

if TYPE_CHECKING:
    from backend.settings import Settings
    from fedmem.contracts import AbTest
    from fedmem.storage.ab_tests import AbTestStore

TIMES = "started (UTC)", "ended (UTC)"

app = typer.Typer(help="Compare two models on the users of a data set: A/B tests.", no_args_is_help=True)


@app.command()
def start(
    treatment: Annotated[str, typer.Argument(metavar="MODEL", help="The model to try beside the one in service.")],
    share: Annotated[float, typer.Option(help="The share of the users whom it answers, between 0 and 1.")] = 0.5,
    database_url: DatabaseUrl = None,
) -> None:
    """Let a model answer a share of its data set's users, and print the test's number.

    A running backend takes it up within a second or two; one that cannot load the model ends the test and says why.
    """
    from fedmem.errors import ConfigError

    if not 0 < share < 1:
        raise ConfigError(f"--share {share:g} is no share of the users: give a number between 0 and 1")
    with _store(database_url) as (store, settings):
        test = store.start(treatment, share)
    notes.print(f"{treatment} answers {share:.0%} of the users of {test.dataset}, {test.control} the others")
    if not settings.impressions:
        notes.print("no answer is noted, so that the test shows nothing: set FEDMEM_IMPRESSIONS for the backend")
    answer_number(test.id, f"test {test.id} runs")


@app.command()
def stop(
    test: Annotated[int, typer.Argument(metavar="TEST", help="As `fedmem ab list` shows it.")],
    database_url: DatabaseUrl = None,
) -> None:
    """End a test: the model in service answers all users again."""
    with _store(database_url) as (store, _):
        row = store.stop(test, "stopped on the command line")
    notes.print(f"test {test} is stopped: {row.control} answers all users of {row.dataset}")


@app.command("list")
def show(database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List the newest tests and what they have shown."""
    from backend.ab_results import result_of

    with _store(database_url) as (store, settings):
        found = [result_of(row, store, settings) for row in store.page()]
    if as_json:
        answer_json([test.model_dump(mode="json") for test in found])
    elif not found:
        notes.print("no A/B test yet: start one with fedmem ab start MODEL")
    else:
        answers.print(_table(found))
        for test in found:  # sentences, for which a table has no room
            answers.print(
                f"test {test.id}: {test.verdict}" + (f"; ended: {test.ended_because}" if test.ended_at else "")
            )


def _table(found: "list[AbTest]") -> Table:
    table = Table()
    for name in ("test", "data set", "control", "treatment", "share", *TIMES):
        table.add_column(name, no_wrap=name not in ("data set", *TIMES), overflow="fold")
    for test in found:
        times = in_utc(test.started_at), "runs" if test.ended_at is None else in_utc(test.ended_at)
        versions = test.control.model_version, test.treatment.model_version
        table.add_row(str(test.id), test.dataset, *versions, f"{test.share:.0%}", *times)
    return table


@contextmanager
def _store(url: str | None) -> "Iterator[tuple[AbTestStore, Settings]]":
    """Open the tests of a database, with the settings that a backend here would have."""
    from backend.settings import Settings
    from fedmem.storage.ab_tests import AbTestStore
    from fedmem.storage.impressions import HOUR

    settings = Settings.load()
    with opened(url) as engine:
        yield AbTestStore(engine, window=settings.attribution_hours * HOUR), settings
