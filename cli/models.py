"""``fedmem models``: which model serves which data set, what waits and why, and what served when."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from cli.database import opened
from cli.options import AsJson, DatabaseUrl, ServiceDir, runs_in
from cli.screen import answer_json, answers, in_utc, notes

if TYPE_CHECKING:
    from backend.services import Services
    from fedmem.contracts import ModelVersion
    from fedmem.storage.job_rows import JobRow
    from fedmem.storage.jobs import JobStore
    from fedmem.storage.models import ModelRow

app = typer.Typer(
    help="Which model serves each data set, what waits and why, what served when; put another into service, roll "
    "back, or take one elsewhere.",
    no_args_is_help=True,
)

OfDataset = Annotated[str | None, typer.Option(metavar="NAME", help="Only of this data set.")]
STATES = {"in_service": "in service", "ready": "ready", "replaced": "served before"}
NEWEST, MADE = 100, "made (UTC)"


@app.command("list")
def show_models(dataset: OfDataset = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List what serves and the newest models, with what each waits for, and the A/B tests that run."""
    from backend.damaged_rows import shown
    from backend.operation_rows import model_of
    from fedmem.storage.ab_tests import AbTestStore
    from fedmem.storage.jobs import JobStore
    from fedmem.storage.models import ModelStore

    with opened(database_url) as engine:
        _require(engine, dataset)
        store = ModelStore(engine)
        serving = [row for row in store.all_active() if dataset in (None, row.dataset)]
        newest = [row for row in store.page(NEWEST, dataset) if not row.active]
        tests = {test.treatment: test for test in AbTestStore(engine).running()}
        unsaid = _why_ready(JobStore(engine), newest)
    found = list(shown(lambda row: model_of(row, {}, None), [*serving, *newest]))
    if as_json:
        answer_json([_record(model, tests) for model in found])
    elif not found:
        notes.print("no model yet: every job that ends with a round leaves one; fedmem jobs start --dataset NAME")
    else:
        answers.print(_table(found))
        for model in found:  # sentences, for which a table has no room
            if note := _note(model, tests) or unsaid.get(model.version):
                answers.print(f"{model.version}: {note}")


def _why_ready(jobs: "JobStore", found: "Sequence[ModelRow]") -> dict[str, str]:
    """Say of models that never served, and that no gate held back, why that is so; by version."""
    silent = [row for row in found if not row.served_before and row.held_back is None]
    whys = {row.version: _why_not(jobs.get(row.job_id)) for row in silent}
    return {version: why for version, why in whys.items() if why}


def _why_not(job: "JobRow") -> str | None:
    from fedmem.contracts import why_ready

    return why_ready(job.kind, job.state, took_up=job.goes_on_with_newest)


def _record(model: "ModelVersion", tests: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model as ``GET /models`` shows it, but for what a running API alone knows."""
    test = tests.get(model.version)
    running = None if test is None else {"id": test.id, "share": test.share, "control": test.control}
    return model.model_dump(mode="json", exclude={"serving", "refused", "equal"}) | {"ab_test": running}


def _note(model: "ModelVersion", tests: Mapping[str, Any]) -> str | None:
    from fedmem.contracts import tried_beside

    test = tests.get(model.version)
    return model.waits if test is None else tried_beside(test.control, test.id, test.share)


def _table(found: "list[ModelVersion]") -> Table:
    table = Table()
    for name in ("model", "data set", "state", "test NDCG@10", MADE):
        table.add_column(name, no_wrap=name in ("model", MADE), overflow="fold")
    for model in found:
        figure = model.metrics.get("test", {}).get("NDCG@10")
        state = STATES[model.state] if model.kept else f"{STATES[model.state]}, no longer kept"
        made = in_utc(model.created_at)
        table.add_row(model.version, model.dataset, state, "" if figure is None else f"{figure:.4f}", made)
    return table


@app.command()
def history(dataset: OfDataset = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show what served when and why it did, the newest first."""
    from backend.damaged_rows import shown
    from backend.operation_rows import activation_of
    from fedmem.storage.models import ModelStore

    with opened(database_url) as engine:
        _require(engine, dataset)
        found = list(shown(activation_of, ModelStore(engine).history(dataset, NEWEST)))
    if as_json:
        answer_json([one.model_dump(mode="json") for one in found])
        return
    if not found:
        notes.print("nothing has served yet: fedmem models activate MODEL puts one into service")
        return
    table = Table()
    for name in ("data set", "model", "since (UTC)", "until (UTC)", "reason"):
        table.add_column(name, no_wrap=name not in ("data set", "reason"), overflow="fold")
    for one in found:
        table.add_row(
            one.dataset, one.version, in_utc(one.since), "" if one.until is None else in_utc(one.until), one.reason
        )
    answers.print(table)


@app.command()
def activate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As `fedmem models list` shows it.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Put a model into service, one that waits or an earlier one; an A/B test of its data set ends by that.

    It is loaded and checked first: one that cannot be served stays where it is. A running API follows within a second.
    """
    with _services(database_url) as services:
        _say(services.keeper.activate(model, "asked for on the command line"))


@app.command()
def rollback(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="As `fedmem data list` shows it.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Put what served a data set before into service again; once more, what served before that."""
    with _services(database_url) as services:
        _require(services.engine, dataset)
        _say(services.keeper.roll_back(dataset))


@app.command()
def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As `fedmem models list` shows it.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A folder that is not there yet, or is empty.")],
    data_dir: ServiceDir = Path("runs/service"),
    database_url: DatabaseUrl = None,
) -> None:
    """Write a model as a folder without any user, which `fedmem serve DIR` answers histories with on any machine."""
    from fedmem.errors import ConflictError
    from fedmem.serving import export_model
    from fedmem.storage.models import ModelStore

    with opened(database_url) as engine:
        row = ModelStore(engine).get(model)
    if row.checkpoint is None:
        raise ConflictError(
            f"the checkpoint of model {model} is no longer kept: choose another of `fedmem models list`"
        )
    export_model(runs_in(data_dir).brought(row.job_id), row.round, out)
    notes.print(f"{out} holds {model} and no user: fedmem serve {out}")
    answers.print(str(out))


def _say(row: "ModelRow") -> None:
    notes.print(f"the data set {row.dataset} is served by {row.version}")
    answers.print(row.version)


def _require(engine: Any, dataset: str | None) -> None:
    """Refuse a data set that is not there, with a list of those that are."""
    from fedmem.storage.catalogue import CatalogueStore

    if dataset is not None:
        CatalogueStore(engine).require(dataset)


@contextmanager
def _services(url: str | None) -> "Iterator[Services]":
    """Open what an API here would have, by which a model is loaded and checked before it is to serve."""
    from prometheus_client import CollectorRegistry

    from backend.served_models import ServedModels
    from backend.services import Services
    from backend.settings import Settings

    settings = Settings.load()
    with opened(url):
        told = settings if url is None else settings.model_copy(update={"database_url": url})
        services = Services.start(told, ServedModels(), CollectorRegistry())
        try:
            yield services
        finally:
            services.close()
