"""JSON arrays element by element: the same values as from the whole text, wherever the text is cut as it is read."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.data.formats.tables import json_array
from fedmem.data.formats.tables.json_array import BrokenArrayError, JsonArray

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)


class Trickling(io.StringIO):
    """A file that gives at most so many characters at once."""

    def __init__(self, text: str, most: int) -> None:
        super().__init__(text)
        self._most = most

    def read(self, size: int | None = -1, /) -> str:
        return super().read(self._most)


@given(st.lists(VALUES, max_size=6), st.integers(1, 9), st.sampled_from([None, 1]), st.booleans())
def test_the_values_are_those_of_the_whole_text(values, most, indent, ascii):
    text = f" {json.dumps(values, indent=indent, ensure_ascii=ascii)}\n"
    assert [value for value, _, _ in JsonArray(Trickling(text, most))] == values


@given(st.lists(VALUES, min_size=1, max_size=4), st.integers(1, 9), st.data())
def test_what_is_cut_off_is_broken(values, most, data):
    text = json.dumps(values)
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(BrokenArrayError):
        list(JsonArray(Trickling(text[:cut], most)))


def test_an_element_comes_before_the_next_is_read(monkeypatch):
    monkeypatch.setattr(json_array, "_CHUNK", 64)
    file = io.StringIO(json.dumps([{"number": number} for number in range(1000)]))
    elements = iter(JsonArray(file))
    for number in range(1000):
        assert next(elements)[0] == {"number": number}
        assert file.tell() < 30 * (number + 1) + 64


@pytest.mark.parametrize("most", [1, 10_000])
def test_a_number_of_thousands_of_digits_has_no_value(most):
    text = '[{"a": 1}, {"b": ' + "9" * 5000 + '}, {"c": 1e999999999}, ' + "9" * 5000 + "]"
    found = list(JsonArray(Trickling(text, most)))
    assert [(value, why) for value, _, why in found] == [
        ({"a": 1}, ""),
        (None, "a number has thousands of digits"),
        ({"c": float("inf")}, ""),
        (None, "a number has thousands of digits"),
    ]
    assert len(found[1][1]) > 5000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1, 2", "it ends too early at '', in or behind element 2"),
        ("[1, 2}", r"expected , or \] at '}', in or behind element 2"),
        ("[1, ]", r"Expecting value at ']', in or behind element 2"),
        ("{}", r"expected \[ at '{}', in or behind its beginning"),
        ("[1] [2]", r"more text behind its end at '\[2\]'"),
        ("[" * 100_000, "it is nested too deeply"),
        ('[{"a": tru}' + " " * 100_000, "Expecting value at 'tru}  .*', in or behind element 1"),
    ],
)
def test_where_an_array_breaks(text, why):
    with pytest.raises(BrokenArrayError, match=why) as error:
        list(JsonArray(io.StringIO(text)))
    assert len(str(error.value)) < 200
