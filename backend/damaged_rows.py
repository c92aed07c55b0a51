"""Rows that cannot be shown as they are: what is whole of them is shown, and the log says once what is not."""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from fedmem.contracts.contract import Contract

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RowT = TypeVar("RowT", bound="DataclassInstance")
ShownT = TypeVar("ShownT", bound=Contract)
AnyRowT = TypeVar("AnyRowT")
AnyShownT = TypeVar("AnyShownT")

LOG = logging.getLogger(__name__)
DAMAGE = (ValueError, TypeError, OverflowError)  # pydantic's error is a ValueError


def mended(
    what: str,
    row: RowT,
    show: Callable[[RowT], ShownT],
    says: str | None,
    harmless: Callable[[RowT], dict[str, object]],
) -> ShownT:
    """Show a row; where that fails, with ever more harmless values in place of the row's, until it can be shown.

    Args:
        what: names the row in the sentence.
        row: as the database has it.
        show: makes what crosses HTTP.
        says: the field of what is shown that then ends in the sentence, None if there is none for it.
        harmless: makes values by field of a damaged row, in the order in which they are tried.

    Raises:
        ValueError, TypeError, OverflowError: if it cannot be shown with all of these either; the log has said so.
    """
    try:
        return show(row)
    except DAMAGE as error:
        damage = error
    sentence = f"the row of {what} in the database is damaged: restore it from a backup"
    warn_once(f"{sentence}. It cannot be shown as it is: {_in_words(damage)}")
    for name, value in harmless(row).items():
        row = dataclasses.replace(row, **{name: value})
        with suppress(*DAMAGE):
            return _saying(show(row), says, f"{sentence}; the log says more")
    raise damage


def shown(show: Callable[[AnyRowT], AnyShownT], rows: Iterable[AnyRowT]) -> Iterator[AnyShownT]:
    """Show rows without those that nothing mends."""
    for row in rows:
        with suppress(*DAMAGE):
            yield show(row)


def _in_words(damage: Exception) -> str:
    """Say on one line what is wrong with the first value that is."""
    if not isinstance(damage, ValidationError):
        return " ".join(str(damage).split())
    first = damage.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


@lru_cache(1000)
def warn_once(sentence: str) -> None:
    """Log a warning, unless it is one of the last thousand: lists are asked for all the time."""
    LOG.warning("%s", sentence)


def _saying(damaged: ShownT, says: str | None, sentence: str) -> ShownT:
    if says is None:
        return damaged
    before = getattr(damaged, says)
    return damaged.model_copy(update={says: f"{before} ({sentence})" if before else sentence})
