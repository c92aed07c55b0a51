"""One rule for ids: what is an id, what is none, and that a message shows the value."""

import itertools
import uuid
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.errors import DataError, MissingIdError
from fedmem.identifiers import FLOAT32_EXACT, MAX_ID_LENGTH, is_missing_marker, read_id, shown

SOME_UUID = uuid.UUID(int=2**127 + 5)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("u1", "u1"),
        ("  u 1\t", "u 1"),
        ("Zoë", "Zoë"),
        ("https://shop.example/a?b=c#d", "https://shop.example/a?b=c#d"),
        (b"sku-\xc3\xa9", "sku-é"),
        (SOME_UUID, str(SOME_UUID)),
        (7, "7"),
        (-7, "-7"),
        (np.int64(7), "7"),
        (2**64, str(2**64)),
        (12.0, "12"),
        (-0.0, "0"),
        (float(2**53 - 1), str(2**53 - 1)),
        (Decimal("12.00"), "12"),
        (Decimal(10**30), str(10**30)),
        ("12.0", "12.0"),
        ("007", "007"),
        ("x" * MAX_ID_LENGTH, "x" * MAX_ID_LENGTH),
    ],
)
def test_ids(value, expected):
    assert read_id(value) == expected


@pytest.mark.parametrize("value", [None, "", "  \n", float("nan"), Decimal("NaN"), b" "])
def test_a_missing_id(value):
    with pytest.raises(MissingIdError, match=r"^there is no user_id$"):
        read_id(value, "user_id")


MARKERS = ["NULL", "null", "None", "NONE", "NaN", "nan", "N/A", "n/a", "#N/A", "<NA>", "<null>", "(null)", "[NULL]"]


@pytest.mark.parametrize("value", [*MARKERS, "NA", "NaT", "#NA", r"\N", " NULL ", "undefined"])
def test_a_marker_of_a_missing_value_is_named(value):
    with pytest.raises(MissingIdError, match=r"^the item_id '.+' is how a missing value is written") as error:
        read_id(value, "item_id")
    assert repr(value.strip()) in str(error.value)


@pytest.mark.parametrize(
    "value", ["Na", "na", "Nat", "nil", "Nullarbor", "none of them", "INF", "infinity", "NULL-1", "-", "0"]
)
def test_what_only_looks_like_a_marker_is_an_id(value):
    assert not is_missing_marker(value)
    assert read_id(value) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x" * (MAX_ID_LENGTH + 1), r"the item_id 'x+\.\. has 513 characters; an id has at most 512"),
        ("\U0001f600" * 257, r"has more than 1024 bytes of UTF-8; give a shorter one"),
        ("SKU\t3", r"the item_id 'SKU\\t3' holds the character '\\t'"),
        ("a\nb", r"holds the character '\\n'"),
        ("a\0b", r"holds the character '\\x00'"),
        ("a\x7fb", r"holds the character '\\x7f'"),
        ("a\ud800b", r"holds the character '\\ud800'"),
        (".", "cannot be reached in an address"),
        ("..", "cannot be reached in an address"),
        ("9.78316E+12", "a number that a program has rounded"),
        ("9,78316E+12", "a number that a program has rounded"),
        ("1e+20", "a number that a program has rounded"),
        (float("inf"), "the item_id inf is no whole number"),
        (float("-inf"), "the item_id -inf is no whole number"),
        ("inf", "the item_id 'inf' is how an infinite number is written"),
        ("-Infinity", "is how an infinite number is written"),
        (12.5, "the item_id 12.5 is no whole number"),
        (Decimal("0.1"), r"the item_id 0\.1 is no whole number"),
        (2.0**53, "a float, which cannot tell whole numbers from 9007199254740992 on apart"),
        (1e20, "a float, which cannot tell whole numbers"),
        (10**5000, "the item_id is <thousands of digits>; an id has at most 512 characters"),
        (b"\xffi0", r"the item_id b'\\xffi0' is bytes that are no UTF-8 text"),
        (True, "the item_id True is a bool; ids are texts or whole numbers"),
        ([1], r"the item_id \[1\] is a list"),
        ({"a": 1}, "is a dict"),
    ],
    ids=itertools.count(),
)
def test_what_cannot_be_an_id_is_shown(value, message):
    with pytest.raises(DataError, match=message) as error:
        read_id(value, "item_id")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 250


def test_a_float_of_32_bits_holds_fewer_ids():
    assert read_id(float(FLOAT32_EXACT - 1), exact_below=FLOAT32_EXACT) == "16777215"
    with pytest.raises(DataError, match="from 16777216 on"):
        read_id(float(FLOAT32_EXACT), exact_below=FLOAT32_EXACT)


@given(st.text())
def test_an_id_is_read_as_itself_again(text):
    try:
        read = read_id(text)
    except DataError:
        return
    assert read_id(read) == read == text.strip()
    assert read_id(read.encode()) == read


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_whole_number_is_one_id_in_every_type(number):
    assert read_id(number) == read_id(float(number)) == read_id(Decimal(number)) == read_id(str(number))


def test_a_value_is_shown_on_one_short_line():
    assert shown("a\nb") == r"'a\nb'"
    assert len(shown("x" * 10_000)) < 70
    assert shown(10**5000) == shown([10**5000]) == "<thousands of digits>"
