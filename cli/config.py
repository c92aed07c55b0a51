"""``fedmem config``."""

from typing import Annotated

import typer

from cli.options import AsJson, ConfigFile, Overrides
from cli.screen import answer_json, answers

app = typer.Typer(help="Show the configuration.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Make a group of what is one command so far."""


@app.command()
def show(
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print a documented YAML file to start from.")] = False,
    services: Annotated[
        bool, typer.Option("--services", help="The services' settings instead, and where each value comes from.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show every setting with its value, its meaning and, where it differs, the original's default."""
    if (as_json and as_yaml) or (services and (config or overrides or as_yaml)):
        raise typer.BadParameter("give --json or --yaml, and with --services neither --config, --set nor --yaml")
    if services:
        from cli.service_table import show_services

        show_services(as_json=as_json)
        return
    from cli import config_table
    from fedmem.config_reader import load_config

    loaded = load_config(config, overrides or ())
    if as_json:
        answer_json(loaded.model_dump(mode="json"))
    elif as_yaml:
        answers.print(config_table.as_yaml(loaded), end="")
    else:
        answers.print(config_table.as_table(loaded))
