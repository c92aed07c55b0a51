"""``fedmem jobs compare``: jobs side by side."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli.database import opened
from cli.options import AsJson, DatabaseUrl
from cli.screen import answer_json, answers, notes

if TYPE_CHECKING:
    from fedmem.contracts import JobComparison


def compare(
    jobs: Annotated[list[int], typer.Argument(metavar="JOB JOB..", help="As `fedmem jobs list` shows them.")],
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this metric, such as NDCG@10. Repeatable.")
    ] = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show what sets jobs apart, and what their models reach on test. What does not compare is refused."""
    from backend.comparisons import comparison_of
    from fedmem.storage.jobs import JobStore
    from fedmem.storage.models import ModelStore

    with opened(database_url) as engine:
        store = JobStore(engine)
        found = comparison_of([store.get(number) for number in jobs], ModelStore(engine), metric or ())
    if as_json:
        answer_json(found.model_dump(mode="json"))
        return
    answers.print(_table(found))
    if found.note is not None:
        notes.print(found.note)


def _table(found: "JobComparison") -> Table:
    table = Table()
    table.add_column("", overflow="fold")
    for number in found.jobs:
        table.add_column(f"job {number}", overflow="fold")
    for name, values in found.test.items():
        table.add_row(f"test {name}", *("" if value is None else f"{value:.4f}" for value in values))
    table.add_section()
    for one in found.differences:
        table.add_row(one.name, *("" if value is None else str(value) for value in one.values))
    if not found.differences:
        table.add_row("no setting differs, and no snapshot")
    return table
