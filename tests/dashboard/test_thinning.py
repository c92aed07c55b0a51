"""Thinning: how many points of a line are drawn, which, and what a zoom brings back."""

import pytest

from dashboard.charts.drawing import ROWS
from dashboard.charts.lines import Row, Style, lines
from dashboard.charts.thinning import MOST, thinned
from tests.dashboard.test_books import rounds
from tests.dashboard.test_charts import DRAWN

MANY = 1100
ONE_PER_JOB = ("histogram",)  # of one round: nothing to leave out


def line(last, label="a run", first=1):
    return [Row(number, 1.0, label) for number in range(first, last + 1)]


def drawn_rounds(drawing, label="a run"):
    table = drawing.datasets[ROWS]
    return table[(table.series == label) & (table.kind == "line")]["round"].tolist()


@pytest.mark.parametrize("name", DRAWN)
def test_no_line_has_more_points_than_can_be_told_apart(name):
    whole = DRAWN[name](rounds(MANY))
    drawn, step = thinned(whole)
    assert drawn.spec is whole.spec
    before, after = whole.datasets[ROWS], drawn.datasets[ROWS]
    if name in ONE_PER_JOB or len(before) <= MOST:
        assert (drawn, step) == (whole, 1)
        return
    labels = before["series"] if "series" in before else before["round"] * 0
    for label, rows in before.groupby(labels):
        kept = after[labels.loc[after.index] == label]
        if "kind" in rows:
            assert kept[kept.kind != "line"].equals(rows[rows.kind != "line"])
            kept, rows = kept[kept.kind == "line"], rows[rows.kind == "line"]
        assert len(rows) == 0 or len(kept) <= MOST + 1
        assert kept["round"].agg(["min", "max"]).equals(rows["round"].agg(["min", "max"]))


def test_a_short_line_stays_whole_beside_a_long_one():
    drawn, step = thinned(lines(line(1000) + line(200, "short"), Style("Loss (nats)", ("a run", "short"))))
    assert drawn_rounds(drawn, "short") == list(range(1, 201))
    assert drawn_rounds(drawn) == [*range(1, 1001, 4), 1000]
    assert step == 4


def test_parts_of_a_sum_keep_the_same_rounds():
    drawn, _ = thinned(DRAWN["total"](rounds(MANY)))
    table = drawn.datasets[ROWS]
    assert len({tuple(part["round"]) for _, part in table.groupby("series")}) == 1


def test_points_stay_where_they_are_as_rounds_are_added():
    style = Style("Loss (nats)", ("a run",))
    early, late = (drawn_rounds(thinned(lines(line(last), style))[0]) for last in (701, 902))
    assert early == late[: len(early)]
    assert late[-1] == 902


@pytest.mark.parametrize(("shown", "step"), [((400.2, 500.7), 1), ((100, 500), 2), ((-50, 2000), 8), ((2000, 3000), 1)])
def test_what_the_reader_has_zoomed_in_on_is_drawn_closer(shown, step):
    drawing = lines(line(1700), Style("Loss (nats)", ("a run",)))
    whole = drawn_rounds(thinned(drawing)[0])
    drawn, found = thinned(drawing, shown)
    assert found == step
    inside = [number for number in range(1, 1701) if shown[0] <= number <= shown[1]]
    assert set(drawn_rounds(drawn)) == {*whole, *inside[::step], *inside[-1:]}


def test_a_short_job_and_what_has_no_rounds_stay_as_they_are():
    short = DRAWN["loss"](rounds(MOST // 2))
    assert thinned(short) == (short, 1)
    histogram = DRAWN["histogram"](rounds(20))
    assert thinned(histogram, (3, 5)) == (histogram, 1)
