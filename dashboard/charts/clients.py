"""The Clients page's charts: who takes part, how their losses spread, what they send and get."""

from collections.abc import Sequence

from dashboard.charts.drawing import Drawing
from dashboard.charts.lines import Row, Style, lines, plain
from dashboard.charts.palette import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION
from dashboard.charts.quantiles import quantile_chart
from dashboard.charts.training import series
from fedmem.contracts import RoundMetrics
from fedmem.contracts.traffic import DIRECTIONS, PARTS, Direction, bytes_each, bytes_sent

KEYS = "keys"
TRAFFIC = {
    (direction, part): "Keys of secure sums" if part == KEYS else f"{direction.title()}: {part}"
    for part in PARTS
    for direction in DIRECTIONS
}


def participation_chart(rounds: Sequence[RoundMetrics]) -> Drawing:
    """Draw the number of clients that trained, by round."""
    return plain(series(rounds, "train", "clients", "Clients"), "Clients in the round (number)", ["Clients"], zero=True)


def client_loss_chart(rounds: Sequence[RoundMetrics]) -> Drawing:
    """Draw how the clients' mean losses spread."""
    return quantile_chart(rounds, "client_loss", "Mean loss of a client (nats)", [])


def traffic_chart(rounds: Sequence[RoundMetrics], direction: Direction) -> Drawing:
    """Draw KB per client and round in one direction, stacked; rows of transitions go down at validations only."""
    names = {f"bytes_{direction}_weights": "Weights", f"bytes_{direction}_prototypes": "Prototypes"}
    if direction == "up":
        names["bytes_up_transitions"] = "Transitions"
    if any(bytes_each(each.metrics, direction, KEYS) for each in rounds):
        names[f"bytes_{direction}_{KEYS}"] = TRAFFIC[direction, KEYS]
    rows = [row for name, label in names.items() for row in series(rounds, "train", name, label, 1e-3)]
    known = (BLUE, SKY) if direction == "down" else (ORANGE, GREEN, VERMILLION)
    palette = (*known, GREY)[: len(names)]
    return plain(rows, "Per client (KB)", list(names.values()), palette=palette, zero=True, stacked=True)


def total_traffic_chart(rounds: Sequence[RoundMetrics]) -> Drawing:
    """Draw all traffic so far, summed over clients, from nothing before the first round on."""
    secure = any(bytes_each(each.metrics, "down", KEYS) for each in rounds)
    kinds = {kind: label for kind, label in TRAFFIC.items() if secure or kind[1] != KEYS}
    sums = dict.fromkeys(kinds.values(), 0.0)
    rows = [Row(rounds[0].round - 1, 0.0, label) for label in sums] if rounds else []
    for each in rounds:
        for kind, label in kinds.items():
            sums[label] += bytes_sent(each.metrics, *kind)
        rows += [Row(each.round, value, label) for label, value in sums.items()]
    palette = (BLUE, ORANGE, SKY, GREEN, PURPLE, VERMILLION, GREY)[: len(sums)]
    style = Style("Sent so far, all clients (bytes)", tuple(sums), palette, in_bytes=True, zero=True, stacked=True)
    return lines(rows, style)
