"""Where the labels of a map stand: around their discs, touching no other, and shorter where it is crowded."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import pi, sqrt

LETTER, LINE, GAP = 7.7, 17.5, 4.0  # pixels of a label in bold 14 px
LENGTHS = (30, 14)  # letters of a title, where there is room and where there is little
Label = tuple[str, str, float, float]


@dataclass(frozen=True)
class Disc:
    """A disc on the screen, in pixels from the middle to the right and down, and its label."""

    number: str
    title: str
    x: float
    y: float
    area: float

    @property
    def radius(self) -> float:
        """Give the radius in pixels."""
        return sqrt(self.area / pi)

    @property
    def box(self) -> "Box":
        """Give the square around it."""
        return Box(self.x - self.radius, self.x + self.radius, self.y - self.radius, self.y + self.radius)


@dataclass(frozen=True)
class Box:
    """A rectangle on the screen, in pixels."""

    left: float
    right: float
    top: float
    bottom: float

    def touches(self, other: "Box") -> bool:
        """Say whether two rectangles overlap."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def within(self, half_width: float, half_height: float) -> bool:
        """Say whether all of it is visible."""
        return max(-self.left, self.right) <= half_width and max(-self.top, self.bottom) <= half_height


def placed(discs: Sequence[Disc], half_width: float, half_height: float) -> list[Label]:
    """Place a label for each disc, as (text, align, dx, dy); the largest discs choose first."""
    taken = [disc.box for disc in discs]
    found: dict[int, Label] = {}
    for number in sorted(range(len(discs)), key=lambda number: -discs[number].area):
        found[number], box = _first_free(discs[number], taken, half_width, half_height)
        taken.append(box)
    return [found[number] for number in range(len(discs))]


def _first_free(disc: Disc, taken: Iterable[Box], half_width: float, half_height: float) -> tuple[Label, Box]:
    for text in [*(f"{disc.number} {_short(disc.title, length)}" for length in LENGTHS), disc.number]:
        for label, box in _around(disc, text):
            if box.within(half_width, half_height) and not any(box.touches(other) for other in taken):
                return label, box
    return next(_around(disc, disc.number))


def _around(disc: Disc, text: str) -> Iterator[tuple[Label, Box]]:
    wide, away = LETTER * len(text), disc.radius + GAP
    for align, dx, dy, left in (
        ("center", 0.0, -away - LINE / 2, -wide / 2),
        ("center", 0.0, away + LINE / 2, -wide / 2),
        ("left", away, 0.0, away),
        ("right", -away, 0.0, -away - wide),
    ):
        x, y = disc.x + left, disc.y + dy
        yield (text, align, dx, dy), Box(x, x + wide, y - LINE / 2, y + LINE / 2)


def _short(title: str, length: int) -> str:
    return title if len(title) <= length else f"{title[: length - 1].rstrip()}…"
