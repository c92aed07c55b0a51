"""The options by which files are read: the readers' own, and the same for every command that reads."""

import dataclasses
import re
from dataclasses import fields
from typing import get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from cli.reading import Reading, with_reading
from fedmem.data import formats
from fedmem.errors import ConfigError, DataError


def test_the_options_are_the_fields_of_the_readers_with_their_defaults():
    files = {"items": None, "images": None}
    assert Reading().arguments() == files | dataclasses.asdict(formats.Reading())


def test_the_formats_that_the_help_names_exist_and_an_unknown_one_lists_them_all(tmp_path):
    (told,) = get_type_hints(Reading, include_extras=True)["format"].__metadata__
    (examples,) = re.findall(r"such as (.*);", told.help)
    assert set(re.split(r", | or ", examples)) <= set(formats.FORMATS)
    with pytest.raises(ConfigError, match=", ".join(formats.FORMATS)):
        formats.load_dataset(tmp_path, format="no-such")


@pytest.mark.parametrize("reader", [formats.load_dataset, formats.read_dataset])
def test_the_readers_take_what_the_options_say(reader, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        reader(tmp_path / "nowhere", **Reading().arguments())


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
