"""The Clients page's charts: who takes part, how their losses spread, what they send and get."""

from collections.abc import Sequence
from typing import Literal

from dashboard.charts.drawing import Drawing
from dashboard.charts.lines import Row, Style, lines, plain
from dashboard.charts.palette import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from dashboard.charts.quantiles import quantile_chart
from dashboard.charts.training import series
from fedmem.contracts import RoundMetrics

TRAFFIC = {
    "bytes_down_weights": "Down: weights",
    "bytes_up_weights": "Up: weights",
    "bytes_down_prototypes": "Down: prototypes",
    "bytes_up_prototypes": "Up: prototypes",
    "bytes_down_transitions": "Down: transitions",
    "bytes_up_transitions": "Up: transitions",
}


def participation_chart(rounds: Sequence[RoundMetrics]) -> Drawing:
    """Draw the number of clients that trained, by round."""
    return plain(series(rounds, "train", "clients", "Clients"), "Clients in the round (number)", ["Clients"], zero=True)


def client_loss_chart(rounds: Sequence[RoundMetrics]) -> Drawing:
    """Draw how the clients' mean losses spread."""
    return quantile_chart(rounds, "client_loss", "Mean loss of a client (nats)", [])


def traffic_chart(rounds: Sequence[RoundMetrics], direction: Literal["down", "up"]) -> Drawing:
    """Draw KB per client and round in one direction, stacked; rows of transitions go down at validations only."""
    names = {f"bytes_{direction}_weights": "Weights", f"bytes_{direction}_prototypes": "Prototypes"}
    if direction == "up":
        names["bytes_up_transitions"] = "Transitions"
    rows = [row for name, label in names.items() for row in series(rounds, "train", name, label, 1e-3)]
    palette = (BLUE, SKY) if direction == "down" else (ORANGE, GREEN, VERMILLION)
    return plain(rows, "Per client (KB)", list(names.values()), palette=palette, zero=True, stacked=True)


def sent(each: RoundMetrics, name: str) -> float:
    """Sum one kind of message over the clients that it went to or came from in a round."""
    train = each.metrics.get("train", {})
    validates = name == "bytes_down_transitions"
    clients = each.metrics.get("validation", {}).get("users", 0.0) if validates else train.get("clients", 0.0)
    return train.get(name, 0.0) * clients


def total_traffic_chart(rounds: Sequence[RoundMetrics]) -> Drawing:
    """Draw all traffic so far, summed over clients; the unit of the axis grows with it."""
    sums = dict.fromkeys(TRAFFIC, 0.0)
    rows = []
    for each in rounds:
        for name, label in TRAFFIC.items():
            sums[name] += sent(each, name)
            rows.append(Row(each.round, sums[name], label))
    palette = (BLUE, ORANGE, SKY, GREEN, PURPLE, VERMILLION)
    style = Style(
        "Sent so far, all clients (bytes)", tuple(TRAFFIC.values()), palette, y_format=".3~s", zero=True, stacked=True
    )
    return lines(rows, style)
