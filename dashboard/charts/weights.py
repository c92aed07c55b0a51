"""The weights of the transition memory: how validations chose them, and those of one round in words."""

from collections.abc import Sequence
from itertools import pairwise

from dashboard.charts.drawing import Drawing
from dashboard.charts.lines import Row, plain
from fedmem.contracts import RoundMetrics

STRENGTH, UP_TO = "transition_strength", "transition_strength_up_to_"
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def strength_chart(rounds: Sequence[RoundMetrics]) -> Drawing:
    """Draw the weights as steps: one holds until the next validation."""
    lengths = _short_histories(rounds)
    labels = _after([*lengths, None]) if lengths else ["Weight"]
    chosen = [(each.round, each.metrics.get("train", {})) for each in rounds]
    rows = [
        Row(number, weight, label)
        for place, label in enumerate(labels)
        for number, train in chosen
        if STRENGTH in train
        for weight in _weights(train, lengths)[place : place + 1]
    ]
    return plain(rows, "Weight in the score (number)", labels, zero=True, stepped=True)


def weights_in_use(rounds: Sequence[RoundMetrics], best_round: int | None) -> str | None:
    """Say with which weights a round's model reads the memory; None where that round chose none."""
    train = next((each.metrics.get("train", {}) for each in rounds if each.round == best_round), {})
    if STRENGTH not in train:
        return None
    lengths = _short_histories(rounds)
    ends = [*lengths, None]
    weights = _weights(train, lengths)
    if not any(weights):
        return "In use: 0, so that it is not read."
    # Neighbours of one weight are one range, which ends where the last of them does.
    last = [place for place, (one, other) in enumerate(pairwise(weights)) if one != other] + [len(weights) - 1]
    if len(last) == 1:
        return f"In use: {weights[0]}."
    said = zip((weights[place] for place in last), _after([ends[place] for place in last]), strict=True)
    return f"In use: {', '.join(f'{weight} after {items}' for weight, items in said)}."


def _short_histories(rounds: Sequence[RoundMetrics]) -> list[int]:
    """List the lengths of history that have a weight of their own."""
    names = {name for each in rounds for name in each.metrics.get("train", {}) if name.startswith(UP_TO)}
    return sorted(int(name.removeprefix(UP_TO)) for name in names)


def _weights(train: dict[str, float], lengths: Sequence[int]) -> list[float]:
    """List a round's weights, the shortest histories' first; a round that reads none, has none for short ones."""
    return [train.get(f"{UP_TO}{length}", train[STRENGTH]) for length in lengths] + [train[STRENGTH]]


def _after(ends: Sequence[int | None]) -> list[str]:
    """Name the ranges of numbers of items that end so; the last has no end."""
    starts = [1, *(end + 1 for end in ends[:-1] if end is not None)]
    named = [_range(low, high) for low, high in zip(starts, ends, strict=True)]
    return [f"{named[0]} item{'' if ends[0] == 1 else 's'}", *named[1:]]


def _range(low: int, high: int | None) -> str:
    if high is None:
        return f"{_word(low)} or more"
    joined = "or" if high == low + 1 else "to"
    return _word(low) if low == high else f"{_word(low)} {joined} {_word(high)}"


def _word(number: int) -> str:
    return NUMBERS[number - 1] if number <= len(NUMBERS) else f"{number:,}"
