"""The options by which files are read: the readers' own, and the same for every command that reads."""

import inspect
from dataclasses import fields

import pytest
import typer
from typer.testing import CliRunner

from cli.reading import Reading, with_reading
from fedmem.data.formats import load_dataset, read_dataset


@pytest.mark.parametrize("reader", [load_dataset, read_dataset])
def test_the_fields_are_parameters_of_the_readers_with_their_defaults(reader):
    parameters = inspect.signature(reader).parameters
    assert Reading().arguments() == {field.name: parameters[field.name].default for field in fields(Reading)}


def test_no_parameter_of_the_readers_is_forgotten():
    parameters = list(inspect.signature(read_dataset).parameters)
    assert set(parameters[1:]) == {field.name for field in fields(Reading)}


def test_a_command_gets_what_its_options_say():
    got = []
    app = typer.Typer()

    @app.command()
    @with_reading
    def read(path: str, *, reading: Reading, loud: bool = False) -> None:
        got.append((path, reading, loud))

    run = CliRunner().invoke
    assert run(app, ["here"]).exit_code == 0
    assert (
        run(app, ["--loud", "--skip-bad-rows", "3", "--format", "csv", "--item-column", "film", "there"]).exit_code == 0
    )
    assert got == [
        ("here", Reading(), False),
        ("there", Reading(skip_bad_rows=3, format="csv", item_column="film"), True),
    ]


@pytest.mark.parametrize("command", ["train", "ablate", "data import"])
def test_every_command_that_reads_has_every_option(fedmem, command):
    told = fedmem(*command.split(), "--help").out
    assert [field.name for field in fields(Reading) if f"--{field.name.replace('_', '-')} " not in told] == []
