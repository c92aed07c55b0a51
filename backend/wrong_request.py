"""What is wrong with a request, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedmem.config_reader import nearest_key
from fedmem.contracts.contract import PRINTABLE, STORED

SHOWN = 3
PATTERNS = {
    STORED: "must not be empty, and hold no U+0000",
    PRINTABLE: "must not be empty, and hold no control character",
}
LONGEST_VALUE = 200
Error = Mapping[str, Any]  # as FastAPI and Pydantic give it


def what_is_wrong(errors: Sequence[Error], content_type: str | None = None) -> str:
    """Tell the first few things, each by name and value, and how many more there are."""
    errors = _without_sequels(errors)
    more = len(errors) - SHOWN
    told = "; ".join(_told(error, content_type) for error in errors[:SHOWN])
    return told + (f" (and {more} more)" if more > 0 else "")


def _without_sequels(errors: Sequence[Error]) -> list[Error]:
    """Leave out that a list is too short where it is only for its wrong members, which Pydantic does not count."""
    places = [tuple(error["loc"]) for error in errors]
    wrong_inside = {place[:length] for place in places for length in range(len(place))}
    return [error for error in errors if error["type"] != "too_short" or tuple(error["loc"]) not in wrong_inside]


def _told(error: Error, content_type: str | None) -> str:
    if error["type"] == "json_invalid":
        return f"the body is not valid JSON ({error['ctx']['error']} at character {error['loc'][-1]})"
    if isinstance(error["input"], bytes):  # which FastAPI did not take for JSON
        return _unread(content_type)
    name = ".".join(str(part) for part in error["loc"][1:]) or str(error["loc"][0])
    return f"{name}{_shown(error['input'])}: {_message(error)}"


def _unread(content_type: str | None) -> str:
    if content_type is None:
        return "the header Content-Type: application/json is missing, so that the body was not read"
    return f"the body was not read, because it comes as {content_type!r}: send Content-Type: application/json"


def _shown(value: object) -> str:
    """Repeat what was given, where it is short enough to be told."""
    told = repr(value) if isinstance(value, str | int | float | bool) else ""
    return f" = {told}" if told and len(told) <= LONGEST_VALUE else ""


def _message(error: Error) -> str:
    if error["type"] == "extra_forbidden":
        part, *key = error["loc"][1:]
        return "there is no such key" + (nearest_key(key) if key and part == "config" else "")
    return _in_our_words(error) or str(error["msg"]).removeprefix("Value error, ")


def _in_our_words(error: Error) -> str:
    """Say what Pydantic says in terms of Python or of a pattern; nothing for the rest, which is plain."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], "")
    if kind in ("too_short", "too_long"):
        least = kind == "too_short"
        bound, given = context["min_length" if least else "max_length"], context["actual_length"]
        return f"give at {'least' if least else 'most'} {bound:,}, not {'more' if given is None else f'{given:,}'}"
    return ""
