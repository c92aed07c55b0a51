"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

RunDir = Annotated[Path, typer.Argument(metavar="DIR", help="A directory that `fedmem train` wrote.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="A YAML configuration.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one setting, e.g. federated.num_rounds=200. Repeatable."),
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
ServiceDir = Annotated[
    Path, typer.Option("--data-dir", metavar="DIR", envvar="FEDMEM_DATA_DIR", help="Checkpoints, the demo and logs.")
]
FirstJob = Annotated[
    bool, typer.Option("--train/--no-train", help="Queue a training job on the demo where no job ever was.")
]
Workers = Annotated[
    int | None, typer.Option(metavar="N", help="Processes that train clients; short for --set workers=N.")
]


def with_workers(overrides: list[str] | None, workers: int | None) -> list[str]:
    """Add to the overrides what ``--workers`` is short for."""
    return [*(overrides or ()), *([] if workers is None else [f"workers={workers}"])]
