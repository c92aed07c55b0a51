"""The Training page's charts: validation by round, losses, seconds by phase."""

from collections.abc import Iterable, Mapping, Sequence

from dashboard.charts.drawing import Drawing
from dashboard.charts.lines import ROOM, Kind, Row, Style, lines, plain
from dashboard.words import PHASES, ranking_title, share
from fedmem.contracts import RoundMetrics

Runs = Mapping[str, Sequence[RoundMetrics]]
POPULARITY = "popularity"
VALIDATION = "seconds_evaluate"
FAR = 1.5  # heights of the curves: a level that is further away would make them flat
# As round 0 names them; a job of an earlier version has popularity alone.
BASELINES = {POPULARITY: "popularity", "item_counts": "item-item counts", "ease": "EASE"}


def ranking_chart(runs: Runs, metric: str, *, without: bool = False) -> Drawing:
    """Draw a validation metric of some runs by round, the first with standard error, best round and baselines.

    ``without`` adds the first run's model without its transition memory, where that was measured, as a thin line.
    """
    first = next(iter(runs))
    thin = _without_transitions(runs[first], metric, first) if without else []
    rows = [row for name, rounds in runs.items() for row in _ranking_rows(rounds, metric, name, band=name == first)]
    marked, levels = _best(runs[first], metric, first), _near(_levels(runs[first], metric), [*rows, *thin])
    style = Style(
        ranking_title(metric),
        (*runs, *dict.fromkeys(row.series for row in thin)),
        bands=True,
        best=bool(marked),
        reference=bool(levels),
        thin=bool(thin),
        beside=True,
    )
    return lines([*rows, *thin, *marked, *levels], style)


def loss_chart(runs: Runs, name: str, title: str) -> Drawing:
    """Draw a training loss of some runs by round, the first to compare the others with; not where it is off, and 0."""
    found = (series(rounds, "train", name, run) for run, rounds in runs.items())
    rows = [row for each in found if any(one.value for one in each) for row in each]
    return plain(rows, title, list(runs), beside=True)


def seconds_chart(rounds: Sequence[RoundMetrics]) -> Drawing:
    """Draw where the time of a round goes; what only some rounds do, as dots."""
    found = {name: series(rounds, "system", name, label) for name, label in PHASES.items()}
    found[VALIDATION] = dotted(found[VALIDATION])
    rows = [row for phase in found.values() for row in phase]
    return plain(rows, "Time per round (seconds)", list(PHASES.values()), zero=True, dots=True)


def peak_memory_chart(rounds: Sequence[RoundMetrics]) -> Drawing:
    """Draw the trainer's peak memory."""
    found = series(rounds, "system", "peak_memory_mib", "Peak memory")
    return plain(found, "Peak memory (MiB)", ["Peak memory"], zero=True)


def dotted(rows: Iterable[Row]) -> list[Row]:
    """Make dots of rows: values of single rounds, between which nothing was measured."""
    return [row._replace(kind="dot") for row in rows]


def series(rounds: Iterable[RoundMetrics], split: str, name: str, label: str, scale: float = 1.0) -> list[Row]:
    """Turn one metric into rows, where it was measured."""
    found = ((each.round, each.metrics.get(split, {}).get(name)) for each in rounds)  # type: ignore[call-overload]
    return [Row(number, scale * value, label) for number, value in found if value is not None]


def measured(rounds: Iterable[RoundMetrics], metric: str) -> list[tuple[int, float, float]]:
    """List (round, value, standard error) of a validation metric, where it was measured."""
    tables = ((each.round, each.metrics.get("validation", {})) for each in rounds)
    return [(number, table[metric], table.get(f"{metric}_se", 0.0)) for number, table in tables if metric in table]


def baselines(rounds: Sequence[RoundMetrics], metric: str) -> dict[str, float]:
    """Look up what methods without any training reach on the same split, by their keys in BASELINES."""
    start = rounds[0].metrics.get("validation", {}) if rounds else {}
    return {name: start[f"{name}_{metric}"] for name in BASELINES if f"{name}_{metric}" in start}


def strongest(rounds: Sequence[RoundMetrics], metric: str) -> str | None:
    """Find the key of the best baseline besides popularity, which flatters; None where there is no other."""
    others = {name: value for name, value in baselines(rounds, metric).items() if name != POPULARITY}
    return max(others, key=others.__getitem__, default=None)


def best(rounds: Sequence[RoundMetrics], metric: str) -> tuple[int, float, float] | None:
    """Find the best round by NDCG@10, which is what training goes by, with another metric of that round.

    It is HR@10 where NDCG@10 was not measured.
    """
    by_round = {number: (number, value, error) for number, value, error in measured(rounds, metric)}
    watched = [found for found in measured(rounds, "NDCG@10") or measured(rounds, "HR@10") if found[0] in by_round]
    return by_round[max(watched, key=lambda found: found[1])[0]] if watched else None


def _ranking_rows(rounds: Sequence[RoundMetrics], metric: str, run: str, *, band: bool) -> list[Row]:
    return [
        Row(number, value, run, low=value - error if band else None, high=value + error if band else None)
        for number, value, error in measured(rounds, metric)
    ]


def _without_transitions(rounds: Sequence[RoundMetrics], metric: str, run: str) -> list[Row]:
    found = series(rounds, "validation", f"without_transitions_{metric}", f"{run}, no transitions")
    return [row._replace(kind="thin") for row in found]


def _best(rounds: Sequence[RoundMetrics], metric: str, run: str) -> list[Row]:
    found = best(rounds, metric)
    return [] if found is None else [Row(found[0], found[1], run, "best")]


def _levels(rounds: Sequence[RoundMetrics], metric: str) -> list[Row]:
    found = baselines(rounds, metric)
    shown = (POPULARITY, strongest(rounds, metric))
    return [Row(0, found[name], BASELINES[name], "reference") for name in shown if name in found]


def _near(levels: Sequence[Row], curves: Sequence[Row]) -> list[Row]:
    """Turn levels that are far from the curves, which they would make flat, into words at the edge, with their values.

    Two such levels on one side share a line.
    """
    if not curves:
        return list(levels)
    low, high = min(row.low or row.value for row in curves), max(row.high or row.value for row in curves)
    reach = FAR * ((high - low) or abs(high))
    below = [row for row in levels if row.value < low - reach]
    above = [row for row in levels if row.value > high + reach]
    kept = [row for row in levels if row not in (*below, *above)]
    room = ROOM * (high - low)
    sides: tuple[tuple[list[Row], str, float, Kind], ...] = (
        (below, "below", low - room, "bottom edge"),
        (above, "above", high + room, "top edge"),
    )
    for rows, words, place, edge in sides:
        if rows:
            named = ", ".join(f"{row.series} {share(row.value)}" for row in rows)
            kept.append(Row(0, place, f"{named}: {words} what is drawn", edge))
    return kept
