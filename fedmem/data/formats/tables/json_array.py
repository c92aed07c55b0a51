"""The elements of a JSON array, each as soon as its end has been read, whatever the size of the file."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol

from fedmem.identifiers import shown

THOUSANDS_OF_DIGITS = "a number has thousands of digits"
TOO_DEEP = "it is nested too deeply"

_CHUNK = 2**16  # characters
_BLANKS = " \t\r\n"
_BEHIND = frozenset((*_BLANKS, ",", "]"))  # what may stand behind an element
# How far before the end of what was read an error stands if more text may mend it; an open string begins anywhere.
_CUT_OFF, _OPEN_STRING = 16, "Unterminated string"


class KeyTwiceError(ValueError):
    """A JSON object has a key twice, and which value counts is not said."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its keys and values; ``KeyTwiceError`` names a key that stands twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        times = Counter(name for name, _ in pairs)
        raise KeyTwiceError(f"the key {shown(next(name for name in made if times[name] > 1))} stands twice in it")
    return made


DECODER = json.JSONDecoder(object_pairs_hook=_once)
# Python makes no whole number of more than 4,300 digits; as a float it is at least read over.
_READING_OVER = json.JSONDecoder(parse_int=float)


class Text(Protocol):
    """What is read from: a text file."""

    def read(self, size: int, /) -> str:
        """Read at most so many of the next characters, none at the end."""


class BrokenArrayError(Exception):
    """The text is no array from some place on; says where and why."""


class JsonArray:
    """Iterates over (element, its text, why it has no value); the last is empty for an element that has one.

    ``BrokenArrayError`` comes where nothing behind can be told.
    """

    def __init__(self, file: Text) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._number = 0

    def __iter__(self) -> Iterator[tuple[Any, str, str]]:
        self._expect("[")
        if self._next_sign() == "]":
            self._at += 1
        else:
            yield self._element()
            while self._expect(",]") == ",":
                yield self._element()
        if self._next_sign():
            raise self._broken("more text behind its end")

    def _element(self) -> tuple[Any, str, str]:
        self._number += 1
        self._next_sign()
        try:
            return *self._decoded(DECODER), ""
        except KeyTwiceError as error:
            return None, self._decoded(_READING_OVER)[1], str(error)
        except ValueError:
            return None, self._decoded(_READING_OVER)[1], THOUSANDS_OF_DIGITS

    def _decoded(self, decoder: json.JSONDecoder) -> tuple[Any, str]:
        """Read the element that begins here, and its text; ``ValueError`` if ``decoder`` makes no value of it."""
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                may_go_on = error.pos > len(self._text) - _CUT_OFF or error.msg.startswith(_OPEN_STRING)
                if may_go_on and self._read_on():
                    continue
                raise self._broken(error.msg, error.pos) from None
            except RecursionError:
                raise self._broken(TOO_DEEP) from None
            if self._text[end : end + 1] not in _BEHIND and self._read_on():  # a number may go on
                continue
            begin, self._at = self._at, end
            return value, self._text[begin:end]

    def _read_on(self) -> bool:
        """Read as much again as is at hand, so that a long element takes time by its length; tell if there was more."""
        at_hand = self._text[self._at :]
        more = self._file.read(max(_CHUNK, len(at_hand)))
        if more:
            self._text, self._at = at_hand + more, 0
        return bool(more)

    def _next_sign(self) -> str:
        """Find the next character that is no blank, without taking it; none at the end."""
        while True:
            sign = self._text[self._at : self._at + 1]
            if sign and sign not in _BLANKS:
                return sign
            self._at += len(sign)
            if not sign and not self._read_on():
                return ""

    def _expect(self, signs: str) -> str:
        found = self._next_sign()
        if not found or found not in signs:
            raise self._broken(f"expected {' or '.join(signs)}" if found else "it ends too early")
        self._at += 1
        return found

    def _broken(self, why: str, at: int | None = None) -> BrokenArrayError:
        at = self._at if at is None else at
        place = f"element {self._number}" if self._number else "its beginning"
        return BrokenArrayError(f"{why} at {shown(self._text[at : at + 40])}, in or behind {place}")
