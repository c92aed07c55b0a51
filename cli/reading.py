"""How files are read: the options of every command that reads interactions, and what they say to the readers."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer


@dataclass(frozen=True)
class Reading:
    """What a command is told about the files it reads. A new option of the readers is a new field here, nothing more.

    A field is named as the keyword of ``load_dataset`` and ``read_dataset`` that it is passed to: ``items``, ``images``
    or a field of the readers' own ``Reading``.
    """

    items: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Titles, genres, years and texts of the items.")
    ] = None
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="Images named <item id>.jpg (png, webp).")] = None
    format: Annotated[
        str,
        typer.Option(help="auto, or a name such as csv, parquet or movielens-1m; an unknown name lists them all."),
    ] = "auto"
    skip_bad_rows: Annotated[int, typer.Option(min=0, help="Leave out up to so many unreadable rows.")] = 0
    encoding: Annotated[str, typer.Option(help="Of text files: auto, utf-8, cp1252, utf-16 or another.")] = "auto"
    user_column: Annotated[str, typer.Option(help="The column of user ids (csv, parquet, JSON, xlsx).")] = "user_id"
    item_column: Annotated[str, typer.Option(help="The column of item ids.")] = "item_id"
    timestamp_column: Annotated[str, typer.Option(help="The column of times.")] = "timestamp"
    date_format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="Of dates that are not ISO 8601: %d.%m.%Y, %m/%d/%Y ..")
    ] = None
    rating_column: Annotated[str | None, typer.Option(help="The column of ratings; with --positive-rating.")] = None
    positive_rating: Annotated[
        float | None, typer.Option(help="The smallest rating that counts as liked; rows below are left out.")
    ] = None
    event_column: Annotated[str | None, typer.Option(help="The column of kinds of events; with --positive.")] = None
    positive: Annotated[
        str | None, typer.Option(metavar="KIND,KIND", help="Kinds of events that count; rows of others are left out.")
    ] = None
    items_id_column: Annotated[
        str | None, typer.Option(help="Items: the column of ids; default that of --item-column, or item_id.")
    ] = None
    title_column: Annotated[str | None, typer.Option(help="Items: the column of titles; default title.")] = None
    genres_column: Annotated[str | None, typer.Option(help="Items: the column of genres; default genres.")] = None
    genre_separator: Annotated[str, typer.Option(help="Items: what stands between two genres or tags.")] = "|"
    year_column: Annotated[str | None, typer.Option(help="Items: the column of years; default year.")] = None
    text_column: Annotated[str | None, typer.Option(help="Items: the column of descriptions; default text.")] = None
    tags_column: Annotated[str | None, typer.Option(help="Items: the column of free tags; default tags.")] = None
    available_column: Annotated[
        str | None, typer.Option(help="Items: the column of availability, yes or no; default available.")
    ] = None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of ``load_dataset`` and ``read_dataset``."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def with_reading(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of ``Reading``, in the place of its parameter ``reading``."""
    hints = get_type_hints(Reading, include_extras=True)
    options = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(Reading)
    ]

    @functools.wraps(command)
    def called(**given: Any) -> None:
        reading = Reading(**{option.name: given.pop(option.name) for option in options})
        command(**given, reading=reading)

    parameters = inspect.signature(command, eval_str=True).parameters.values()
    spread = [one for parameter in parameters for one in (options if parameter.name == "reading" else [parameter])]
    called.__signature__ = inspect.Signature(spread)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in spread}
    return called
