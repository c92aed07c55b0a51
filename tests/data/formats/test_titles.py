"""Titles as a reader expects them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.data.formats.titles import description_in, item_text, readable_title, year_in


@pytest.mark.parametrize(
    ("listed", "readable"),
    [
        ("Toy Story (1995)", "Toy Story (1995)"),
        ("Matrix, The (1999)", "The Matrix (1999)"),
        ("American President, The (1995)", "The American President (1995)"),
        ("Bronx Tale, A (1993)", "A Bronx Tale (1993)"),
        ("Misérables, Les (1995)", "Les Misérables (1995)"),
        ("Associate, L'(1982)", "L'Associate (1982)"),
        ("Postino, Il (The Postman) (1994)", "Il Postino (The Postman) (1994)"),
        ("Good, the Bad and the Ugly, The", "The Good, the Bad and the Ugly"),
        ("Corrina, Corrina (1994)", "Corrina, Corrina (1994)"),
        ("City of Angels (Himmel, Der) (1998)", "City of Angels (Himmel, Der) (1998)"),
        (" Heat (1995) ", "Heat (1995)"),
    ],
)
def test_articles_come_first(listed, readable):
    assert readable_title(listed) == readable


@pytest.mark.parametrize(
    ("title", "year"),
    [
        ("Toy Story (1995)", 1995),
        ("Land Before Time III (1995) (V)", 1995),
        ("2001: A Space Odyssey (1968)", 1968),
        ("Death Note (2006\u20132007)", 2006),
        ("Fargo (2014-)", 2014),
        ("Babylon 5", None),
        ("1984", None),
    ],
)
def test_year(title, year):
    assert year_in(title) == year


def test_text_is_what_is_known():
    assert item_text("Heat (1995)", 1995, ("Action", "Crime"), "A thief.") == "Heat (1995). Action, Crime. A thief."
    assert item_text("Heat", 1995, (), "") == "Heat (1995)"
    assert item_text("Heat", None, ("Action",), "") == "Heat. Action"
    assert item_text("", None, (), "") == ""


WORDS = st.sampled_from(["", "Heat", "Heat (1995)", "Drama", "A. B", "unknown"]) | st.text(max_size=8)


@given(WORDS, st.none() | st.integers(1900, 2030), st.lists(WORDS.filter(bool), max_size=2).map(tuple), WORDS)
def test_the_description_is_found_in_the_text(title, year, genres, description):
    text = item_text(title, year, genres, description)
    assert description_in(text, title, year, genres) == description


def test_a_description_beside_a_title_that_says_nothing():
    assert description_in(item_text("", 1971, ("Drama",), "A thief."), "unknown", 1971, ("Drama",)) == "A thief."
    assert description_in("something else", "Heat", None, ()) == "something else"
