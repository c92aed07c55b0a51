"""``fedmem jobs start``: a training job for a trainer to take up."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.database import opened
from cli.options import ConfigFile, DatabaseUrl, Overrides
from cli.screen import answer_number, notes
from cli.unnamed_requests import what_becomes_of_them
from fedmem.errors import ConfigError

if TYPE_CHECKING:
    from fedmem.storage.catalogue import CatalogueStore
    from fedmem.storage.jobs import JobRow


def start(
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="An imported data set; default that of --start-from, or the only one."),
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    experiment: Annotated[bool, typer.Option("--experiment", help="Do not put its model into service.")] = False,
    start_from: Annotated[
        int | None, typer.Option(metavar="JOB", help="Continue this ended job of the same data set for more rounds.")
    ] = None,
    snapshot: Annotated[
        Literal["newest", "same"],  # SnapshotChoice
        typer.Option(
            help="With --start-from: the best model goes on with the newest data, or the job goes on with the same."
        ),
    ] = "newest",
    promotion: Annotated[
        Literal["auto", "gate", "manual"] | None,  # PromotionMode, whose module reads pydantic
        typer.Option(help="How its model goes into service; otherwise as FEDMEM_PROMOTION says."),
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Queue a training job for a trainer to take up, and print its number.

    A terminal has it in a sentence; through a pipe it is the number alone, for scripts.
    """
    from fedmem.config_reader import load_config
    from fedmem.privacy.cost import before_start
    from fedmem.privacy.startable import check_startable
    from fedmem.storage.catalogue import CatalogueStore
    from fedmem.storage.job_configs import whole_config
    from fedmem.storage.job_room import require_room
    from fedmem.storage.jobs import JobStore
    from fedmem.storage.settings import StorageSettings

    settings = StorageSettings.load()
    said = load_config(config, overrides or ())
    with opened(database_url) as engine:
        store = JobStore(engine)
        parent = None if start_from is None else store.get(start_from)
        loaded = whole_config(said, settings.job_config, parent)
        catalogue = CatalogueStore(engine)
        name = _dataset_meant(catalogue, parent) if dataset is None else dataset
        known = catalogue.dataset(name)
        if parent is None:
            catalogue.require_histories(name, loaded)
        needed = require_room(loaded, known, settings.data_dir, settings.job_memory)
        costs = before_start(loaded)
        check_startable(loaded)
        refused = "" if experiment else what_becomes_of_them(engine, name)
        row, _ = store.create(
            kind="experiment" if experiment else "training",
            dataset=name,
            config=loaded.model_dump(mode="json"),
            num_rounds=loaded.federated.num_rounds,
            repeats_of_dataset=not loaded.data.says_repeats,
            start_from=start_from,
            snapshot=snapshot,
            promotion=promotion,
        )
        told = (f"estimated to take {needed}", *costs)
        for each in told:
            store.log(row.id, "INFO", each)
        waiting = not store.trainers()
    for each in told:
        notes.print(each)
    answer_number(row.id, f"job {row.id} is queued")
    if refused:
        notes.print(refused)
    if waiting:
        notes.print("no trainer has been seen yet: start one with fedmem trainer")


def _dataset_meant(catalogue: "CatalogueStore", parent: "JobRow | None") -> str:
    """Choose the data set of a job that names none, and say which it is.

    Raises:
        ConfigError: if there are several, naming them, or none.
    """
    if parent is not None:
        notes.print(f"on the data set {parent.dataset}, which job {parent.id} was trained on")
        return parent.dataset
    there = [row.name for row in catalogue.datasets()]
    if not there:
        raise ConfigError("there is no data set to train on: import one with fedmem data import PATH")
    if len(there) > 1:
        raise ConfigError(f"there are several data sets: {', '.join(there)}; name the one to train on by --dataset")
    notes.print(f"on the data set {there[0]}, the only one")
    return there[0]
