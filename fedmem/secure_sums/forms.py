"""Between a sum, a tree of dataclasses, mappings and arrays, and the numbers of which it is made, one behind the other.

A dataclass names in ``NOT_SUMMED`` the fields that are the same in every part of a sum, such as a distribution's bins.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.floating]
Form = Any  # a tree of the following, mappings, and the types int and float


@dataclass(frozen=True)
class ArrayForm:
    """Stands for an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class DataForm:
    """Stands for a dataclass."""

    kind: type
    parts: Mapping[str, Form]


@dataclass(frozen=True)
class Unsummed:
    """Stands for a value that is not summed, and shows it."""

    value: Any


def form_of(part: Any) -> Form:
    """Return the same tree without its numbers."""
    match part:
        case np.ndarray():
            return ArrayForm(part.shape, part.dtype)
        case None:
            return Unsummed(None)
        case int() | float():
            return type(part)
        case Mapping():
            return {name: form_of(value) for name, value in part.items()}
    assert is_dataclass(part), f"{type(part).__name__} is no part of a sum"
    return DataForm(type(part), {each.name: _form_of_field(part, each.name) for each in fields(part)})


def _form_of_field(part: Any, name: str) -> Form:
    value = getattr(part, name)
    return Unsummed(value) if name in getattr(part, "NOT_SUMMED", ()) else form_of(value)


def numbers_of(part: Any) -> Numbers:
    """Put the numbers of a tree one behind the other [n], as ``form_of`` orders them."""
    found = [np.ravel(values) for values in _numbers(part)]
    return np.concatenate(found) if found else np.zeros(0)


def _numbers(part: Any) -> Iterator[Any]:
    match part:
        case None:
            return
        case np.ndarray() | int() | float():
            yield part
        case Mapping():
            for value in part.values():
                yield from _numbers(value)
        case _:
            for each in fields(part):
                if each.name not in getattr(part, "NOT_SUMMED", ()):
                    yield from _numbers(getattr(part, each.name))


def rebuilt(form: Form, numbers: Numbers) -> Any:
    """Make a tree of this form from its numbers [n]; counts that were whole are whole again."""
    part, used = _rebuilt(form, numbers, 0)
    assert used == len(numbers), f"{used} of {len(numbers)} numbers were used"
    return part


def _rebuilt(form: Form, numbers: Numbers, first: int) -> tuple[Any, int]:
    match form:
        case ArrayForm():
            end = first + int(np.prod(form.shape))
            return numbers[first:end].reshape(form.shape).astype(form.dtype), end
        case Unsummed():
            return form.value, first
        case type():
            value = float(numbers[first])
            return (round(value) if form is int else value), first + 1
        case Mapping():
            return _rebuilt_parts(form, numbers, first)
    parts, end = _rebuilt_parts(form.parts, numbers, first)
    return form.kind(**parts), end


def _rebuilt_parts(forms: Mapping[Any, Form], numbers: Numbers, first: int) -> tuple[dict[Any, Any], int]:
    parts = {}
    for name, form in forms.items():
        parts[name], first = _rebuilt(form, numbers, first)
    return parts, first
