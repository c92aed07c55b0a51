"""How an uploaded file is to be read: the options of ``fedmem data import`` as fields, by the words of this page."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

FORMATS = (
    "auto", "movielens-1m", "movielens-100k", "movielens-csv", "sasrec", "csv", "parquet", "jsonl", "json", "xlsx"
)  # fmt: skip


@dataclass(frozen=True)
class ReadingField:
    """One option: its name in the API, its label, what holds where nothing is written, and what it means."""

    name: str
    label: str
    default: str = ""
    meaning: str = ""
    kind: Literal["text", "number", "count"] = "text"


INTERACTIONS = (
    ReadingField("user_column", "Column of users", "user_id"),
    ReadingField("item_column", "Column of items", "item_id"),
    ReadingField("timestamp_column", "Column of times", "timestamp", "Without it the order of the rows is the time."),
    ReadingField("rating_column", "Column of ratings", "", "With the smallest rating that counts as liked."),
    ReadingField("positive_rating", "Smallest rating that counts", "", "Rows below are left out.", "number"),
    ReadingField("date_format", "Form of dates", "", "Of dates that are not ISO 8601: `%d.%m.%Y`."),
    ReadingField("event_column", "Column of kinds of events", "", "With the kinds that count."),
    ReadingField("positive", "Kinds of events that count", "", "With commas between them: `purchase,like`."),
    ReadingField("skip_bad_rows", "Bad rows to leave out, at most", "0", "Otherwise the first one ends it.", "count"),
)
ITEMS = (
    ReadingField("items_id_column", "Items: column of ids", "", "Default: that of the items above, or item_id."),
    ReadingField("title_column", "Items: column of titles", "", "Default: title."),
    ReadingField("genres_column", "Items: column of genres", "", "Default: genres."),
    ReadingField("genre_separator", "Items: between two genres or tags", "|"),
    ReadingField("tags_column", "Items: column of tags", "", "Default: tags."),
    ReadingField("year_column", "Items: column of years", "", "Default: year."),
    ReadingField("text_column", "Items: column of descriptions", "", "Default: text."),
    ReadingField("available_column", "Items: column of availability", "", "Yes or no, 1 or 0. Default: available."),
)
FORMAT = ReadingField("format", "Format", "auto", "It is found out by the first bytes and lines.")
ENCODING = ReadingField("encoding", "Encoding of text", "auto", "`utf-8`, `cp1252`, `utf-16` or another.")
FIELDS = {field.name: field for field in (FORMAT, ENCODING, *INTERACTIONS, *ITEMS)}
_VALUE = r"'[^']*'|(?!(?:or|and|beside|allows)\b)[^\s,;()-].*?"
_OPTION = re.compile(
    r"(?:--([a-z]+(?:-[a-z]+)*)|[`\"]?\b([a-z]+(?:_[a-z]+)+)\b[`\"]?)"  # of the command line, and of the API
    rf"(?:(?:[ =]|: )({_VALUE})(?=,? --| beside | \(|;|, |\.(?:\s|$)|$))?(,? (?=--))?"
)


def ask_reading(with_items: bool) -> dict[str, Any]:
    """Ask how the files are to be read; what is as by default is left out."""
    first, second = st.columns(2)
    told = {FORMAT.name: first.selectbox(FORMAT.label, FORMATS, key="reading-format", help=FORMAT.meaning)}
    told |= _ask_one(second, ENCODING)
    told |= _ask(INTERACTIONS)
    if with_items:
        told |= _ask(ITEMS)
    return {name: value for name, value in told.items() if value not in (None, "", FIELDS[name].default)}


def _ask(fields: Sequence[ReadingField]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for first in range(0, len(fields), 3):  # a row of columns each, which a narrow window sets one below the other
        for place, field in zip(st.columns(3), fields[first : first + 3], strict=False):
            told |= _ask_one(place, field)
    return told


def _ask_one(place: Any, field: ReadingField) -> Mapping[str, Any]:
    key, meaning = f"reading-{field.name}", field.meaning or None
    if field.kind == "count":
        count = place.number_input(field.label, min_value=0, value=0, key=key, help=meaning)
        return {field.name: count or None}
    if field.kind == "number":
        return {field.name: place.number_input(field.label, value=None, key=key, help=meaning, placeholder="all count")}
    value = place.text_input(field.label, key=key, placeholder=field.default, help=meaning, max_chars=200)
    return {field.name: value if field.name == "genre_separator" else value.strip()}


def in_words_of_the_page(text: str) -> str:
    """Name options and what to write into them as this page does, in what the readers say for other callers."""

    def label(found: re.Match[str]) -> str:
        option, name, value, between = found.groups()
        field = FIELDS.get(name or option.replace("-", "_"))
        if field is None:
            return found[0]
        told = f"“{field.label}”" if value in (None, "N") else f"{value} as “{field.label}”"
        return told + (" and " if between == " " else between or "")

    return _OPTION.sub(label, text)
