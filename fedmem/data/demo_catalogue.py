"""The films of the embedded demo: invented titles, genres, years and one-sentence plots, composed from word lists."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fedmem.data.demo_words import GENRES, WORDS

FIRST_YEAR, LAST_YEAR = 1950, 2024
SERIES_SHARE = 0.16  # of the titles that are not sequels, how many get sequels
NUMERALS = ("", " II", " III")


@dataclass(frozen=True)
class Film:
    """One film; `series` numbers the series it belongs to (None: a single film), `part` its place there from 1."""

    title: str
    genres: tuple[str, ...]
    year: int
    text: str
    series: int | None
    part: int


class _Deck:
    """Deals the words of a list in a shuffled order and reshuffles when it is empty, so that no word is overused."""

    def __init__(self, words: str | tuple[str, ...], rng: np.random.Generator) -> None:
        self._words = words.split(",") if isinstance(words, str) else list(words)
        self._rng = rng
        self._cards: list[str] = []

    def deal(self) -> str:
        if not self._cards:
            self._cards = [self._words[i] for i in self._rng.permutation(len(self._words))]
        return self._cards.pop()


class _GenreWriter:
    """Composes the films of one genre."""

    def __init__(self, genre: str, rng: np.random.Generator) -> None:
        self._genre, self._words, self._rng = genre, WORDS[genre], rng
        words = self._words
        self._titles = {k: _Deck(v, rng) for k, v in (("adj", words.adjectives), ("noun", words.nouns))}
        self._places, self._patterns = _Deck(words.places, rng), _Deck(words.patterns, rng)
        self._heroes, self._deeds = _Deck(words.heroes, rng), _Deck(words.deeds, rng)
        self._twists, self._companions = _Deck(words.twists, rng), _Deck(words.companions, rng)
        self._shades = {name: _Deck(WORDS[name].shades, rng) for name in words.companions}

    def films(self, taken: set[str], series: int | None, parts: int) -> Iterator[Film]:
        """Yield one film, or the `parts` films of a series, under a title that is not in `taken` yet."""
        title, place = self._title(taken)
        genres = (self._genre, self._companions.deal()) if self._rng.random() < 0.45 else (self._genre,)
        hero, year = self._heroes.deal(), self._year()
        for part in range(1, parts + 1):
            plot = f"{self._deeds.deal().format(place=place)} {self._ending(genres)}."
            yield Film(title + NUMERALS[part - 1], genres, year, _sentence(hero, plot, title, part), series, part)
            year = min(year + int(self._rng.integers(2, 6)), LAST_YEAR)

    def _title(self, taken: set[str]) -> tuple[str, str]:
        while True:
            place = self._places.deal()
            words = {slot: deck.deal() for slot, deck in self._titles.items()}
            title = self._patterns.deal().format(place=place, **words)
            title = title.replace("The the ", "The ")
            if title not in taken:
                taken.add(title)
                return title, place

    def _year(self) -> int:
        first, last = self._words.eras if self._rng.random() < 0.85 else (FIRST_YEAR, LAST_YEAR)
        return int(self._rng.integers(first, last + 1))

    def _ending(self, genres: tuple[str, ...]) -> str:
        return self._twists.deal() if len(genres) == 1 else self._shades[genres[1]].deal()


def _sentence(hero: str, plot: str, title: str, part: int) -> str:
    if part == 1:
        return f"{hero} {plot}"
    return f"The {hero.split(' ', 1)[1]} of {title} returns and {plot}"


def make_catalogue(num_items: int, rng: np.random.Generator) -> list[Film]:
    """Invent `num_items` films with unique titles, sorted by year; about a third belong to series of 2 or 3."""
    writers = [_GenreWriter(genre, rng) for genre in GENRES]
    taken: set[str] = set()
    films: list[Film] = []
    series = turn = 0
    while len(films) < num_items:
        parts = int(rng.integers(2, 4)) if rng.random() < SERIES_SHARE else 1
        parts = min(parts, num_items - len(films))
        films += writers[turn % len(writers)].films(taken, series if parts > 1 else None, parts)
        series, turn = series + (parts > 1), turn + 1
    return sorted(films, key=lambda film: (film.year, film.part, film.title))
