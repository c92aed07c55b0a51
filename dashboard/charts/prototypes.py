"""The Prototypes page's charts by round: mass, drift and collapse."""

from collections.abc import Sequence

from dashboard.charts.drawing import Drawing
from dashboard.charts.lines import Row, Style, lines, plain
from fedmem.contracts import PrototypeRound

ALARM = 0.9  # centroids that collapsed onto one vector were seen at .95 to .99


def name(index: int) -> str:
    """Name a prototype."""
    return f"P{index + 1}"


def mass_chart(rounds: Sequence[PrototypeRound]) -> Drawing:
    """Draw each prototype's share of what the clients remember."""
    data = [Row(each.round, 100 * p.mass, name(p.index)) for each in rounds for p in each.prototypes]
    return plain(data, "Share of the mass (%)", _names(rounds), zero=True)


def drift_chart(rounds: Sequence[PrototypeRound]) -> Drawing:
    """Draw how far each prototype moved since the evaluation before."""
    moved = ((each.round, p) for each in rounds for p in each.prototypes)
    data = [Row(number, p.drift, name(p.index)) for number, p in moved if p.drift is not None]
    return plain(data, "Drift since the last one (1 − cosine)", _names(rounds), zero=True)


def collapse_chart(rounds: Sequence[PrototypeRound]) -> Drawing:
    """Draw how alike the prototypes are, and the level that is alarming."""
    data = [Row(each.round, each.collapse, "Collapse") for each in rounds if each.collapse is not None]
    data.append(Row(0, ALARM, f"alarm at {ALARM}", "reference"))
    return lines(data, Style("Mean cosine between prototypes (−1 to 1)", ("Collapse",), zero=True, reference=True))


def _names(rounds: Sequence[PrototypeRound]) -> list[str]:
    return [name(k) for k in range(max((len(each.prototypes) for each in rounds), default=0))]
