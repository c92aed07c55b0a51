"""The Memory page's charts: occupancy, surprise against its threshold, writing, and how the experts are weighed."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import altair as alt
import pandas as pd

from dashboard.charts.drawing import HEIGHT, ROWS, Drawing, rows, specification, value_axis
from dashboard.charts.lines import Row, Style, lines, plain
from dashboard.charts.palette import BLUE, GREEN, INK, ORANGE, PURPLE, VERMILLION
from dashboard.charts.quantiles import quantile_chart
from dashboard.charts.training import series
from dashboard.words import EXPERTS
from fedmem.config import FedMemConfig
from fedmem.contracts import RoundMetrics, RowGrowth

BIN_NATS = 0.25  # the width of a bin of surprise_share_<k>; the last one is open


def occupancy_chart(rounds: Sequence[RoundMetrics], capacity: int) -> Drawing:
    """Draw the mean number of entries in a client's memory, and its capacity."""
    rows = series(rounds, "train", "memory_occupancy_mean", "Entries")
    rows.append(Row(0, float(capacity), f"capacity {capacity}", "reference"))
    return lines(rows, Style("Entries per client (number, mean)", ("Entries",), zero=True, reference=True))


def surprise_chart(rounds: Sequence[RoundMetrics], config: FedMemConfig) -> Drawing:
    """Draw the spread of surprise by round, with the threshold above which an item is written."""
    return quantile_chart(rounds, "surprise", "Surprise (nats)", _threshold(config))


def surprise_histogram(latest: RoundMetrics, config: FedMemConfig) -> Drawing:
    """Draw the distribution of surprise in one round."""
    train = latest.metrics.get("train", {})
    bins = sorted(name for name in train if name.startswith("surprise_share_"))
    drawn = pd.DataFrame(
        [[BIN_NATS * k, BIN_NATS * (k + 1), train[name]] for k, name in enumerate(bins)],
        columns=["low", "high", "share"],
    )
    marks = pd.DataFrame(_threshold(config), columns=["label", "level"]).astype({"level": "float64"})
    return Drawing(_histogram(), {ROWS: drawn.astype("float64"), "levels": marks})


def writing_chart(rounds: Sequence[RoundMetrics]) -> Drawing:
    """Draw the entries written or refreshed, and evicted, by round."""
    names = {"memory_updates": "Written", "memory_evictions": "Evicted"}
    rows = [row for name, label in names.items() for row in series(rounds, "train", name, label)]
    return plain(rows, "Entries in the round (number)", list(names.values()), palette=(GREEN, VERMILLION), zero=True)


def written_chart(rounds: Sequence[RoundMetrics]) -> Drawing:
    """Draw the share of positions that were surprising enough."""
    rows = series(rounds, "train", "memory_written_fraction", "Written", 100)
    return plain(rows, "Positions written (%)", ["Written"], zero=True)


def gates_chart(rounds: Sequence[RoundMetrics]) -> Drawing:
    """Draw how the router weighs the experts, on average."""
    there = {name for each in rounds for name in each.metrics.get("train", {})}
    names = {name: label for name, label in EXPERTS.items() if name in there}
    rows = [row for name, label in names.items() for row in series(rounds, "train", name, label)]
    palette = (BLUE, GREEN, PURPLE, ORANGE, VERMILLION)[: len(names)]
    return plain(rows, "Mean weight of an expert (0 to 1)", list(names.values()), palette=palette, zero=True)


def entropy_chart(rounds: Sequence[RoundMetrics]) -> Drawing:
    """Draw how evenly the experts are used."""
    rows = series(rounds, "train", "gate_entropy", "Entropy")
    return plain(rows, "Entropy of the expert weights (nats)", ["Entropy"], zero=True)


def transitions_chart(rounds: Sequence[RoundMetrics], name: str, title: str) -> Drawing:
    """Draw how far the transition memory has grown: ``transition_pairs`` or ``transition_interactions``."""
    label = title.partition(" (")[0]
    return plain(series(rounds, "train", name, label), title, [label], palette=(VERMILLION,), zero=True)


def growth_chart(growth: RowGrowth) -> Drawing:
    """Draw how the greatest entries of a row grew, named by the titles that they lead to."""
    labels = [f"{place}. {follower.title}" for place, follower in enumerate(growth.followers, 1)]
    rows = [
        Row(number, count, label)
        for label, follower in zip(labels, growth.followers, strict=True)
        for number, count in zip(growth.rounds, follower.counts, strict=True)
    ]
    return plain(rows, "Times it followed (near counting more)", labels, zero=True)


def _threshold(config: FedMemConfig) -> list[tuple[str, float]]:
    """Name the threshold; none where it is a quantile, which differs from client to client."""
    if config.surprise_quantile is not None:
        return []
    return [(f"threshold {config.surprise_threshold:g}", config.surprise_threshold)]


@cache
def _histogram() -> dict[str, Any]:
    x_title, y_title = "Surprise (nats)", "Positions (%)"
    bars = (
        alt.Chart(rows())
        .mark_bar(color=BLUE, binSpacing=1)
        .encode(
            x=alt.X("low:Q", bin="binned", title=x_title),
            x2="high:Q",
            y=value_axis("percent", y_title, zero=True),
            tooltip=[
                alt.Tooltip("low:Q", title="From (nats)"),
                alt.Tooltip("high:Q", title="To (nats)"),
                alt.Tooltip("percent:Q", title="Positions (%)", format=".1f"),
            ],
        )
        .transform_calculate(percent="100 * datum.share")
    )
    level = alt.Chart(rows("levels")).encode(x=alt.X("level:Q", title=x_title))
    rule = level.mark_rule(color=VERMILLION, strokeDash=[5, 4], strokeWidth=1.5)
    label = level.mark_text(color=INK, align="left", dx=5, fontSize=11).encode(text="label:N", y=alt.value(8))
    return specification(alt.layer(bars, rule, label), HEIGHT)
