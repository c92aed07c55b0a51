"""What a user likes, in words: genres, eras and themes, written on the client and never naming a title.

The text is written from the first half of the training history and read only for positions in the second half, so
that it cannot tell the model what it is asked to predict.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import combinations, islice

from fedmem.data.interactions import Item

PreferenceWriter = Callable[[Sequence[Item]], str]

_GENRES, _ERAS, _THEMES = 4, 2, 3  # how many of each are named
_YEAR = re.compile(r"\(\d{4}\)")
_NOT_A_WORD = re.compile(r"[\W_]+")
_OTHER_NAME = re.compile(r"[()]|a\.k\.a\.")
_ARTICLES = "the|a|an|le|la|les|l'|un|une|il|lo|gli|el|los|las|der|die|das|den|det"
_ARTICLE_BEHIND = re.compile(rf"^(?P<rest>.+),\s*(?P<article>{_ARTICLES})$", re.IGNORECASE)


def preference_boundary(length: int) -> int:
    """Count the items of a training history of that length that the preference text is written from: its first half."""
    return length // 2


def template_text(history: Sequence[Item]) -> str:
    """Name the most frequent genres, decades and pairs of genres of a history; empty where nothing can be said.

    >>> template_text([Item("1", "Alien", ("Horror", "Sci-Fi"), 1979), Item("2", "Aliens", ("Sci-Fi",), 1986)])
    'Sci-Fi, Horror. From the 1970s and 1980s. Often Horror with Sci-Fi.'
    """
    titles = [item.title for item in history]
    genres = _most_common((genre for item in history for genre in item.genres), _GENRES, titles)
    eras = _most_common((f"{item.year // 10 * 10}s" for item in history if item.year is not None), _ERAS, titles)
    pairs = (f"{first} with {second}" for item in history for first, second in combinations(sorted(item.genres), 2))
    themes = _most_common(pairs, _THEMES, titles)
    sentences = [
        ", ".join(genres),
        f"From the {' and '.join(eras)}" if eras else "",
        f"Often {', '.join(themes)}" if themes else "",
    ]
    whole = "".join(f"{sentence}. " for sentence in sentences if sentence).strip()
    # A title may be made of the template's own words: then less is said.
    return next((text for text in (whole, sentences[0]) if not names_a_title(text, titles)), "")


def names_a_title(text: str, titles: Iterable[str]) -> bool:
    """Say whether the text has a title as whole words, whatever case, punctuation, year or place of its article."""
    words = f" {_words(text)} "
    return any(f" {form} " in words for title in titles for form in _forms(title))


def _most_common(values: Iterable[str], count: int, titles: Sequence[str]) -> list[str]:
    ranked = sorted(Counter(values).items(), key=lambda entry: (-entry[1], entry[0]))
    sayable = (value for value, _ in ranked if not names_a_title(value, titles))
    return list(islice(sayable, count))


def _words(text: str) -> str:
    return _NOT_A_WORD.sub(" ", text.casefold()).strip()


@lru_cache(maxsize=1 << 16)
def _forms(title: str) -> frozenset[str]:
    """Put a title into words: without its year, with and without its article in front, and by each of its names."""
    bare = _YEAR.sub("", title).strip()
    names = [name.strip() for name in (bare, *_OTHER_NAME.split(bare))]
    behind = [match for name in names if (match := _ARTICLE_BEHIND.match(name))]
    in_front = [f"{match['article']} {match['rest']}" for match in behind]
    without = [match["rest"] for match in behind]
    return frozenset(_words(name) for name in (*names, *in_front, *without)) - {""}
