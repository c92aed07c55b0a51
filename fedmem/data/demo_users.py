"""The users of the embedded demo: tastes over genres and eras that drift along a history, and series they follow."""

from dataclasses import dataclass

import numpy as np

from fedmem.data.demo_catalogue import FIRST_YEAR, LAST_YEAR, Film
from fedmem.data.demo_words import GENRES

MIN_HISTORY, MEDIAN_HISTORY, MAX_HISTORY = 8, 31, 80
COLD_SHARE = 0.02  # of the users, how many have only 1 to 4 interactions
ZIPF_EXPONENT = 0.75
FOLLOW_UP_BONUS, SKIPPED_PART_PENALTY = 4.5, 3.0  # log-odds for the next part of a series, and for one out of order
SAME_GENRE_BONUS = 1.0  # log-odds for the genre of the film watched last
TASTE_SHARPNESS = 1.6
ERA_WIDTH = 14.0  # years
FIRST_DAY, LAST_DAY = 1_609_459_200, 1_704_067_200  # 2021-01-01 and 2024-01-01, UTC seconds


@dataclass(frozen=True)
class _Shelf:
    """The catalogue as arrays: genre [G, I] (columns sum to 1), year [I], log popularity [I], predecessor [I] or -1."""

    genre: np.ndarray
    year: np.ndarray
    popularity: np.ndarray
    predecessor: np.ndarray


def _shelf(films: list[Film], rng: np.random.Generator) -> _Shelf:
    genre = np.zeros((len(GENRES), len(films)))
    for i, film in enumerate(films):
        for name, share in zip(film.genres, (0.65, 0.35) if len(film.genres) == 2 else (1.0,), strict=True):
            genre[GENRES.index(name), i] = share
    place = {(film.series, film.part): i for i, film in enumerate(films)}
    predecessor = np.array([place[film.series, film.part - 1] if film.part > 1 else -1 for film in films])
    popularity = -ZIPF_EXPONENT * np.log(1.0 + rng.permutation(len(films)))
    year = np.array([float(film.year) for film in films])
    return _Shelf(genre, year, popularity, predecessor)


@dataclass(frozen=True)
class _Taste:
    """Genre weights at the start, the middle and the end of a history [3, G], and the favourite year at both ends."""

    genres: np.ndarray
    years: tuple[float, float]

    def at(self, progress: float) -> tuple[np.ndarray, float]:
        """Return genre weights [G] and favourite year after the fraction `progress` of the history."""
        leg, share = (0, 2 * progress) if progress < 0.5 else (1, 2 * progress - 1)
        weights = (1 - share) * self.genres[leg] + share * self.genres[leg + 1]
        return weights, (1 - progress) * self.years[0] + progress * self.years[1]


def _taste(rng: np.random.Generator) -> _Taste:
    anchors = rng.dirichlet(np.full(len(GENRES), 0.15), size=3)
    start, shift = rng.uniform(FIRST_YEAR + 5, LAST_YEAR), rng.normal(0, 20)
    return _Taste(anchors, (start, float(np.clip(start + shift, FIRST_YEAR, LAST_YEAR))))


def _lengths(num_users: int, num_items: int, rng: np.random.Generator) -> np.ndarray:
    """Draw history lengths [U]: log-normal between 8 and 80, and a few cold users with 1 to 4."""
    longest = min(MAX_HISTORY, num_items // 2)
    drawn = np.exp(rng.normal(np.log(MEDIAN_HISTORY), 0.55, size=num_users))
    lengths = np.clip(np.rint(drawn), min(MIN_HISTORY, longest), longest).astype(int)
    num_cold = round(COLD_SHARE * num_users)
    cold = rng.permutation(num_users)[:num_cold]
    lengths[cold] = 1 + np.arange(num_cold) % 4
    return lengths


def _watch(shelf: _Shelf, length: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one user's films in the order watched, each at most once: item positions 0..I-1, [length]."""
    taste, seen = _taste(rng), np.zeros(len(shelf.year), dtype=bool)
    history: list[int] = []
    for step in range(length):
        weights, year = taste.at(step / max(length - 1, 1))
        score = TASTE_SHARPNESS * np.log(weights @ shelf.genre + 0.01) + shelf.popularity
        score -= 0.5 * ((shelf.year - year) / ERA_WIDTH) ** 2
        score += _momentum(shelf, history, seen)
        score[seen] = -np.inf
        odds = np.cumsum(np.exp(score - score.max()))
        item = int(np.searchsorted(odds, rng.random() * odds[-1], side="right"))
        history.append(item)
        seen[item] = True
    return np.array(history)


def _momentum(shelf: _Shelf, history: list[int], seen: np.ndarray) -> np.ndarray:
    """Compute what the last films change in the next one's log-odds [I]: their genre, and the series they opened."""
    is_sequel = shelf.predecessor >= 0
    bonus = np.where(is_sequel & ~seen[shelf.predecessor], -SKIPPED_PART_PENALTY, 0.0)
    if history:
        bonus += SAME_GENRE_BONUS * (shelf.genre[:, history[-1]] @ shelf.genre)
        bonus += np.where(is_sequel & np.isin(shelf.predecessor, history[-3:]), FOLLOW_UP_BONUS, 0.0)
    return bonus


def _timestamps(length: int, rng: np.random.Generator) -> np.ndarray:
    """Draw strictly increasing seconds [length]: evenings some days apart, from a first day of the user's own."""
    gaps = 5_400 + np.rint(rng.exponential(4 * 86_400, size=length)).astype(np.int64)
    return int(rng.integers(FIRST_DAY, LAST_DAY)) + np.cumsum(gaps)


def watch_histories(films: list[Film], num_users: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw, for every user, the films watched (positions in `films`) and when (UTC seconds), oldest first."""
    shelf = _shelf(films, rng)
    lengths = _lengths(num_users, len(films), rng)
    return [(_watch(shelf, int(n), rng), _timestamps(int(n), rng)) for n in lengths]
