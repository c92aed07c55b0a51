"""The map of a job: equal scales, the path upon the discs, and labels that touch nothing."""

import random
import re
from math import pi, sqrt

import pytest

from dashboard.charts.drawing import axis_titles
from dashboard.charts.map_labels import LETTER, LINE, Disc, placed
from dashboard.charts.palette import PAPER
from dashboard.charts.prototype_map import AXES, MAP_HEIGHT, MAP_WIDTH, Frame, map_chart
from fedmem.contracts import ItemMap, PrototypeRound
from tests.dashboard.pretended_trainer import describe_prototypes


def items(count=60):
    places = [(random.Random(k).uniform(-9, 11), random.Random(-k - 1).uniform(-7, 14)) for k in range(count)]
    return ItemMap(
        job_id=1,
        items=[{"item_id": str(k), "title": f"Film {k}", "point": {"x": x, "y": y}} for k, (x, y) in enumerate(places)],
    )


def prototypes(number):
    made = [
        {key: value for key, value in told.items() if key not in ("x", "y", "nearest")}
        | {
            "point": {"x": told["x"], "y": told["y"]},
            "nearest": [{"item_id": str(i), "title": f"Film {i}", "similarity": s} for i, s in told["nearest"]],
        }
        for told in describe_prototypes(number)
    ]
    return PrototypeRound(job_id=1, round=number, collapse=0.1, prototypes=made, rounds=(10, 20, 30))


ROUNDS = tuple(map(prototypes, (10, 20, 30)))


def layers(drawing):
    return [(layer["mark"], layer["data"]["name"], layer["encoding"]) for layer in drawing.spec["layer"]]


def ends(scale, width, height):
    """A domain as the browser comes to compute it."""
    known = {"width": width, "height": height, "max": max}
    return [eval(scale[end]["expr"], known) for end in ("domainMin", "domainMax")]


@pytest.mark.parametrize(("width", "height"), [(560, 440), (1100, 440), (280, 440)])
def test_a_unit_is_as_long_to_the_right_as_upwards_and_all_items_are_seen(width, height):
    drawing = map_chart(items(), ROUNDS, ROUNDS[-1])
    assert axis_titles(drawing.spec) == {
        "First principal component (no unit)",
        "Second principal component (no unit)",
    }
    for _, _, encoding in layers(drawing):
        left, right = ends(encoding["x"]["scale"], width, height)
        low, high = ends(encoding["y"]["scale"], width, height)
        assert (right - left) / width == pytest.approx((high - low) / height, rel=1e-3)
    there = drawing.datasets["items"]
    assert left < there.x.min() < there.x.max() < right
    assert low < there.y.min() < there.y.max() < high


@pytest.mark.parametrize(("wide", "high"), [(20.0, 5.0), (5.0, 20.0)])
def test_labels_are_placed_by_the_scale_that_the_browser_takes(wide, high):
    scale = Frame(0.0, 0.0, wide, high).scale("x").to_dict()
    left, right = ends(scale, MAP_WIDTH, MAP_HEIGHT - AXES)
    assert Frame(0.0, 0.0, wide, high).pixel() == pytest.approx((right - left) / MAP_WIDTH)


def test_the_path_has_a_halo_and_lies_below_the_discs():
    drawn = [
        (mark["type"], data, mark.get("color")) for mark, data, _ in layers(map_chart(items(), ROUNDS, ROUNDS[-1]))
    ]
    kinds = [(kind, data) for kind, data, _ in drawn]
    assert kinds == [("circle", "items"), ("line", "path"), ("line", "path"), ("circle", "now"), *[("text", "now")] * 2]
    assert drawn[1][2] == PAPER


def test_the_path_ends_with_the_round_that_is_shown_and_more_rounds_are_more_rows():
    early, late = map_chart(items(), ROUNDS, ROUNDS[1]), map_chart(items(), ROUNDS, ROUNDS[2], chosen=3)
    assert set(early.datasets["path"]["round"]) == {10, 20}
    assert early.spec == late.spec
    assert list(late.datasets["now"].ring) == [False, False, False, True, False]


@pytest.mark.parametrize("seed", range(5))
def test_labels_touch_neither_each_other_nor_a_disc(seed):
    noise = random.Random(seed)
    discs = [
        Disc(f"P{k + 1}", f"A film of the year {k}", noise.uniform(-250, 250), noise.uniform(-200, 200), 400)
        for k in range(8)
    ]
    labels = placed(discs, 280, 230)
    boxes = [box(disc, label) for disc, label in zip(discs, labels, strict=True)]
    for number, one in enumerate(boxes):
        assert not any(overlap(one, other) for other in boxes[:number])
        assert not any(overlap(one, square(disc)) for disc in discs)


def box(disc, label):
    text, align, dx, dy = label
    wide = LETTER * len(text)
    left = disc.x + dx - {"left": 0, "center": wide / 2, "right": wide}[align]
    return left, left + wide, disc.y + dy - LINE / 2, disc.y + dy + LINE / 2


def square(disc):
    radius = sqrt(disc.area / pi)
    return disc.x - radius, disc.x + radius, disc.y - radius, disc.y + radius


def overlap(one, other):
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def test_where_there_is_no_room_a_label_is_the_number_alone():
    crowd = [Disc(f"P{k + 1}", "A very long title of a film", 12.0 * k, 0.0, 400) for k in range(12)]
    texts = [text for text, _, _, _ in placed(crowd, 280, 230)]
    assert any(re.fullmatch(r"P\d+", text) for text in texts)
    assert any("A very long" in text for text in texts)
    assert all(text.startswith(disc.number) for disc, text in zip(crowd, texts, strict=True))


def test_numbers_of_a_narrow_map_do_not_lie_upon_each_other():
    close = ROUNDS[-1].model_copy(
        update={
            "prototypes": tuple(
                one.model_copy(update={"point": one.point.model_copy(update={"x": x, "y": 0.0})})
                for one, x in zip(ROUNDS[-1].prototypes, (0.0, 0.1, 5.0, 5.1, -5.0), strict=True)
            )
        }
    )
    drawn = map_chart(items(), ROUNDS, close).datasets["now"]
    assert drawn.number.tolist() == ["", "P2", "", "P4", "P5"], "the larger disc of two that are close has its number"
    assert drawn.prototype.tolist() == ["P1", "P2", "P3", "P4", "P5"]
