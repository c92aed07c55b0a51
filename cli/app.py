"""The root command, which puts the others together.

So that ``fedmem --help`` is quick, a module that defines commands imports inside its functions what brings torch,
pandas, pydantic or SQLAlchemy along. A computation that needs much of it is a module of its own.
"""

from typing import Annotated

import typer

from cli import (
    ab_tests,
    ablating,
    auditing,
    backing_up,
    benching,
    config,
    data,
    database,
    evaluation,
    items,
    jobs,
    keys,
    models,
    recommending,
    schedules,
    serving,
    training,
    tuning,
    up,
)
from cli.screen import answers, show_log
from fedmem import __version__

app = typer.Typer(
    help="FedMem: a federated sequential recommender.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
    training.train,
    ablating.ablate,
    tuning.tune,
    evaluation.evaluate,
    recommending.recommend,
    up.up,
    auditing.audit,
    backing_up.backup,
    backing_up.restore,
    serving.dashboard,
    serving.trainer,
    serving.serve,
):
    app.command()(command)

for name, group in (
    ("jobs", jobs.app),
    ("models", models.app),
    ("schedules", schedules.app),
    ("ab", ab_tests.app),
    ("keys", keys.app),
    ("data", data.app),
    ("items", items.app),
    ("db", database.app),
    ("bench", benching.app),
    ("config", config.app),
):
    app.add_typer(group, name=name)


def _version(asked: bool) -> None:
    if asked:
        answers.print(f"fedmem {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    show_log()
