"""Text that is data keeps no character that could be markup, and loses none."""

import html
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.plain_text import in_html, in_markdown
from tests.dashboard.sites import read

REFERENCE = re.compile(r"&#\d+;")


@given(st.text(st.characters(exclude_categories=("Cc", "Cs"))))
def test_nothing_is_lost(text):
    assert html.unescape(in_html(text)) == text
    assert read(in_markdown(text)) == text


@given(st.text(string.punctuation + " a1\n\t"))
def test_no_markup_is_left(text):
    left = REFERENCE.sub("", in_html(text))
    assert not set(left) & set(string.punctuation + "\n\t")
    assert left == left.strip() or set(left) <= {" ", "a", "1"}


@pytest.mark.parametrize("pattern", [":smile:", ":material_home:", "a@b.c", "http://b.c", "www.b.c", "->", "<->", "--"])
def test_no_piece_of_text_holds_what_streamlit_replaces_in_it(pattern):
    pieces = [html.unescape(piece) for piece in in_markdown(f"x {pattern} y").split(":small[]")]
    assert not any(pattern in piece for piece in pieces)


def test_what_is_no_text_is_written_as_such():
    assert read(in_markdown(None)) == "None"
    assert read(in_markdown(ValueError("a *b*"))) == "a *b*"
