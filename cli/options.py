"""Options that several commands have."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedmem.errors import ConfigError

if TYPE_CHECKING:
    from fedmem.bucket import Runs

RunDir = Annotated[Path, typer.Argument(metavar="DIR", help="A directory that `fedmem train` wrote.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="A YAML configuration.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one setting, e.g. training.loss=bpr. Repeatable."),
]
DataPath = Annotated[Path, typer.Option(metavar="PATH", help="A file or folder of interactions.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        envvar="DATABASE_URL",
        help="sqlite:///FILE or postgresql://..; default sqlite:///runs/fedmem.db.",
    ),
]
ExperimentName = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="Put it into experiments/NAME of FEDMEM_DATA_DIR instead, which the dashboard's Experiments page shows.",
    ),
]
ServiceDir = Annotated[
    Path, typer.Option("--data-dir", metavar="DIR", envvar="FEDMEM_DATA_DIR", help="Checkpoints, the demo and logs.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
FirstJob = Annotated[
    bool, typer.Option("--train/--no-train", help="Queue a training job on the demo where no job ever was.")
]
Workers = Annotated[
    int | None, typer.Option(metavar="N", help="Processes that train clients; short for --set workers=N.")
]


def experiment_folder(name: str | None, out: Path | None, default: Path) -> Path:
    """Return where an experiment is put: by its name in the installation's folder, or anywhere.

    Raises:
        ConfigError: if both are given, or a folder cannot be called so.
    """
    from fedmem.serving.experiments import FOLDER, is_name
    from fedmem.storage.settings import StorageSettings

    if name is None:
        return default if out is None else out
    if out is not None:
        raise ConfigError(f"--name {name} and --out {out}: give one of them, the name puts it where it is shown.")
    if not is_name(name):
        raise ConfigError(f"--name {name!r}: expected a folder's name, without / and no dot before it.")
    return StorageSettings.load().data_dir / FOLDER / name


def runs_in(data_dir: Path) -> "Runs":
    """Return the jobs' folders of a data folder, which FEDMEM_BUCKET may have more of.

    Raises:
        ConfigError: if what reads the bucket is not installed.
    """
    from fedmem.storage.settings import StorageSettings

    return StorageSettings.load().runs(data_dir)


def with_workers(overrides: list[str] | None, workers: int | None) -> list[str]:
    """Add to the overrides what ``--workers`` is short for."""
    return [*(overrides or ()), *([] if workers is None else [f"workers={workers}"])]
