"""Charts: what is drawn, and that new rounds are new rows and nothing else."""

import pytest

from dashboard.charts.ab_tests import effects_chart
from dashboard.charts.clients import client_loss_chart, participation_chart, total_traffic_chart, traffic_chart
from dashboard.charts.drawing import ROWS, axis_titles
from dashboard.charts.level_names import PLACES, Point, places
from dashboard.charts.lines import Row, plain
from dashboard.charts.memory import (
    entropy_chart,
    gates_chart,
    growth_chart,
    occupancy_chart,
    surprise_chart,
    surprise_histogram,
    transitions_chart,
    writing_chart,
    written_chart,
)
from dashboard.charts.recommend import because_of, parts_chart, parts_of
from dashboard.charts.training import (
    baselines,
    best,
    loss_chart,
    peak_memory_chart,
    ranking_chart,
    seconds_chart,
    strongest,
)
from dashboard.charts.weights import strength_chart, weights_in_use
from dashboard.components.drawings import themed
from fedmem.config import FedMemConfig
from fedmem.contracts import (
    Effect,
    GrowingFollower,
    RecommendationResponse,
    RecommendedItem,
    RememberedPart,
    RowGrowth,
    ScoreParts,
)
from tests.dashboard.test_books import rounds

MEMORY = FedMemConfig()
DRAWN = {
    "ranking": lambda r: ranking_chart({"a run": r}, "HR@10"),
    "loss": lambda r: loss_chart({"a run": r}, "recommendation_loss", "Loss (nats)"),
    "seconds": lambda r: seconds_chart(r),
    "participation": lambda r: participation_chart(r),
    "client loss": lambda r: client_loss_chart(r),
    "traffic": lambda r: traffic_chart(r, "up"),
    "total": lambda r: total_traffic_chart(r),
    "occupancy": lambda r: occupancy_chart(r, 50),
    "surprise": lambda r: surprise_chart(r, MEMORY),
    "histogram": lambda r: surprise_histogram(r[-1], MEMORY),
    "writing": lambda r: writing_chart(r),
    "written": lambda r: written_chart(r),
    "gates": lambda r: gates_chart(r),
    "entropy": lambda r: entropy_chart(r),
    "without transitions": lambda r: ranking_chart({"a run": r}, "HR@10", without=True),
    "transitions": lambda r: transitions_chart(r, "transition_pairs", "Pairs (number)"),
    "strength": lambda r: strength_chart(r),
}


@pytest.mark.parametrize("name", DRAWN)
def test_more_rounds_are_more_rows_in_the_same_specification(name):
    early, late = DRAWN[name](rounds(20)), DRAWN[name](rounds(60))
    assert early.spec == late.spec
    assert not early.datasets[ROWS].equals(late.datasets[ROWS])
    assert "datasets" not in early.spec


@pytest.mark.parametrize("name", DRAWN)
def test_axes_have_titles_with_units(name):
    titles = axis_titles(DRAWN[name](rounds(20)).spec)
    assert len(titles) == 2
    assert all(title.endswith(")") for title in titles)


def test_the_best_round_is_marked_and_the_baselines_are_levels():
    told = rounds(150)
    drawn = ranking_chart({"a run": told}, "NDCG@10").datasets[ROWS]
    number, value, _ = best(told, "NDCG@10")
    assert drawn[drawn.kind == "best"][["round", "value"]].to_numpy().tolist() == [[number, value]]
    levels = drawn[drawn.kind.isin(PLACES)].set_index("series").value.to_dict()
    found = baselines(told, "NDCG@10")
    assert levels == {"popularity": found["popularity"], "EASE": found["ease"]}
    assert (strongest(told, "NDCG@10"), strongest(told, "HR@10")) == ("ease", "item_counts")
    measured = {r.round: r.metrics["validation"]["HR@10"] for r in told[1:] if "validation" in r.metrics}
    assert measured[number] == max(measured.values())


def test_the_same_model_without_transitions_is_a_thin_line_where_it_is_asked_for():
    told = rounds(30)
    drawn = ranking_chart({"a run": told}, "NDCG@10", without=True).datasets[ROWS]
    thin = drawn[drawn.kind == "thin"].set_index("round").value.to_dict()
    assert thin == {r.round: r.metrics["validation"]["without_transitions_NDCG@10"] for r in told if r.round in thin}
    assert list(thin) == [10, 20, 30]
    plainly = ranking_chart({"a run": told}, "NDCG@10")
    assert "thin" not in set(plainly.datasets[ROWS].kind)
    assert "no transitions" not in str(plainly.spec)


def test_a_job_of_an_earlier_version_has_popularity_alone():
    start, *others = rounds(20)
    before = {name: value for name, value in start.metrics["validation"].items() if name.startswith("popularity")}
    told = [start.model_copy(update={"metrics": {"validation": before}}), *others]
    drawn = ranking_chart({"a run": told}, "HR@10").datasets[ROWS]
    assert drawn[drawn.kind.isin(PLACES)].series.tolist() == ["popularity"]
    assert strongest(told, "HR@10") is None
    assert baselines([], "HR@10") == {}


def test_what_was_sent_adds_up_over_clients_and_rounds():
    told = rounds(3)
    drawn = total_traffic_chart(told).datasets[ROWS]
    last = drawn[(drawn["round"] == 3) & (drawn.series == "Up: weights")].value.item()
    assert last == pytest.approx(3 * 50 * 182_000)
    told = rounds(20)
    drawn = total_traffic_chart(told).datasets[ROWS]
    last = drawn[(drawn["round"] == 20) & (drawn.series == "Down: transitions")].value.item()
    assert last == pytest.approx(2 * 500 * 24_000), "to the users that validate, twice"


def test_the_bars_of_a_score_add_up_to_it():
    chosen = ("A", 0.5), ("B", 0.25), ("C", 0.125)
    remembered = [RememberedPart(item_id=title, title=title, score=score) for title, score in chosen]
    parts = ScoreParts(sequence=2, experts={"text": 1}, availability=-0.5, popularity=4, remembered=remembered)
    item = RecommendedItem(item_id="1", title="D", genres=(), year=None, score=7.375, explanation=parts)
    answer = RecommendationResponse(
        user_id=None, items=(item,), strategy="model", model_version="m", dataset="d", round=1
    )
    drawn = parts_chart(answer).datasets[ROWS].set_index("part").value
    assert drawn.sum() == item.score
    assert (drawn["What others took next"], drawn["Popularity"]) == (0.875, 4)
    legend = parts_chart(answer).spec["layer"][0]["encoding"]["color"]["scale"]["domain"]
    assert set(legend) == set(drawn.index), "what no score is made of is not in the legend"
    assert because_of(item) == ("A", "B")
    plain_item = item.model_copy(update={"explanation": None})
    assert (parts_of(plain_item), because_of(plain_item)) == ({}, ())


def test_a_chart_without_measurements_is_empty():
    assert occupancy_chart(rounds(0), 50).empty
    assert not occupancy_chart(rounds(1), 50).empty


def test_a_dark_page_has_its_own_colours():
    spec = ranking_chart({"a run": rounds(20)}, "HR@10").spec
    assert themed(spec, "light") == spec
    assert themed(spec, "dark") != spec


def test_more_series_than_colours_are_dashed():
    few, many = ([f"P{k}" for k in range(count)] for count in (6, 7))
    assert "strokeDash" not in str(plain([], "Share (%)", few).spec)
    dashes = plain([], "Share (%)", many).spec["layer"][0]["encoding"]["strokeDash"]["scale"]["range"]
    assert dashes[:6] == [dashes[0]] * 6
    assert dashes[6] != dashes[0]


@pytest.mark.parametrize(
    "draw",
    [lambda runs: ranking_chart(runs, "HR@10"), lambda runs: loss_chart(runs, "recommendation_loss", "Loss (nats)")],
)
def test_a_run_that_others_are_compared_with_is_seen_beneath_them(draw):
    def dashes(*names):
        return encodings(draw({name: rounds(20) for name in names}).spec, "strokeDash")

    assert dashes("Job 1") == []
    for found in dashes("Job 1", "Job 2", "Job 3"):
        assert found["scale"]["domain"] == ["Job 1", "Job 2", "Job 3"]
        solid, *others = found["scale"]["range"]
        assert solid == [1, 0]
        assert all(0 not in dash for dash in others)
    drawn = draw({"Job 1": rounds(20), "Job 2": rounds(20)}).datasets[ROWS]
    assert drawn.series.drop_duplicates().tolist()[:2] == ["Job 1", "Job 2"], "the first is drawn first"


def encodings(spec, channel):
    """What a channel is given in each layer."""
    found = [spec["encoding"][channel]] if channel in spec.get("encoding", {}) else []
    return found + [each for layer in spec.get("layer", ()) for each in encodings(layer, channel)]


def test_a_row_grows_with_the_sums_of_the_api():
    followers = tuple(
        GrowingFollower(item_id=name, title="Same title", counts=counts)
        for name, counts in (("a", (1.0, 4.5)), ("b", (0.5, 3.0)))
    )
    told = RowGrowth(job_id=1, item_id="i", title="A film", rounds=(10, 30), taken=(6, 20), followers=followers)
    drawn = growth_chart(told).datasets[ROWS]
    shown = drawn[drawn.kind == "line"][["round", "series", "value"]].to_numpy().tolist()
    assert shown == [
        [10, "1. Same title", 1.0],
        [30, "1. Same title", 4.5],
        [10, "2. Same title", 0.5],
        [30, "2. Same title", 3.0],
    ]


def test_a_legend_has_as_many_columns_as_names_fit_beside_each_other():
    def columns(*names: str) -> str:
        drawn = plain([Row(1, 0.5, name) for name in names], "Level (number)", names)
        return drawn.spec["layer"][0]["encoding"]["color"]["legend"]["columns"]["expr"]

    assert columns("Job 1", "Job 2") == "max(1, min(3, floor((width + 14) / 57)))"
    assert columns("Job 1", "Job 1, no transitions") == "max(1, min(3, floor((width + 14) / 156)))"
    assert columns(*"abcd").startswith("max(1, min(2,")


def test_no_line_joins_what_only_some_rounds_measure():
    drawn = seconds_chart(rounds(30))
    dots = drawn.datasets[ROWS].query("kind == 'dot'")
    assert set(dots["round"]) == {10, 20, 30}
    assert not drawn.empty
    kinds = drawn.datasets[ROWS].groupby("series").kind.agg(set)
    assert all(kinds[series] <= {"dot", "room"} for series in set(dots.series))


def _weighed(*trains):
    start = rounds(0)[0]
    return [start.model_copy(update={"round": n, "metrics": {"train": train}}) for n, train in enumerate(trains, 1)]


def _weights(of_all, **short):
    return {"transition_strength": of_all, **{f"transition_strength_{name}": weight for name, weight in short.items()}}


def test_weights_are_steps_side_by_side_and_a_round_that_reads_none_has_none_for_short_histories():
    drawn = strength_chart(_weighed(_weights(0.5, up_to_1=0.2, up_to_10=0.5), {}, _weights(0.0)))
    steps = drawn.datasets[ROWS].query("kind == 'line'")
    assert list(zip(steps.series, steps["round"], steps.value, strict=True)) == [
        ("one item", 1, 0.2),
        ("one item", 3, 0.0),
        ("two to ten", 1, 0.5),
        ("two to ten", 3, 0.0),
        ("eleven or more", 1, 0.5),
        ("eleven or more", 3, 0.0),
    ]
    assert drawn.spec["layer"][0]["mark"]["interpolate"] == "step-after"
    aside = {layer["mark"]["yOffset"]["expr"] for layer in drawn.spec["layer"]}
    assert aside == {'-2 * indexof(["one item", "two to ten", "eleven or more"], datum.series)'}


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (
            _weights(1.0, up_to_1=0.2, up_to_3=0.7, up_to_10=1.0),
            "0.2 after one item, 0.7 after two or three, 1.0 after four or more.",
        ),
        (
            _weights(0.5, up_to_2=0.1, up_to_20=0.2),
            "0.1 after one or two items, 0.2 after three to 20, 0.5 after 21 or more.",
        ),
        (_weights(0.3, up_to_1=0.3, up_to_3=0.3), "0.3."),
        (_weights(0.3), "0.3."),
        (_weights(0.0), "0, so that it is not read."),
    ],
)
def test_the_weights_of_the_models_round_are_told_in_words(train, words):
    assert weights_in_use(_weighed(_weights(0.9), train, _weights(0.8)), 2) == f"In use: {words}"


def test_a_round_that_chose_no_weight_has_none_in_use():
    assert weights_in_use(_weighed({}, _weights(0.3)), 1) is None
    assert weights_in_use(_weighed(_weights(0.3)), None) is None


def test_a_level_far_from_the_curves_is_told_at_the_edge_and_does_not_flatten_them():
    told = [
        each.model_copy(update={"metrics": {**each.metrics, "validation": {"HR@10": 0.3 + each.round / 1e4}}})
        for each in rounds(60)[10:]
    ]
    start = rounds(0)[0].model_copy(
        update={"metrics": {"validation": {"popularity_HR@10": 0.05, "ease_HR@10": 0.3055, "item_counts_HR@10": 0.2}}}
    )
    drawn = ranking_chart({"a run": [start, *told]}, "HR@10").datasets[ROWS]
    levels = drawn[drawn.kind.isin([*PLACES, "bottom edge"])]
    assert dict(zip(levels.kind, levels.series, strict=True)) == {
        "left above": "EASE",
        "bottom edge": "popularity .050: below what is drawn",
    }
    assert drawn.value.min() > 0.29, "the values that are drawn are those of the curves"


def test_a_difference_that_may_be_nothing_is_grey():
    effects = [
        ("Hits", Effect(value=0.03, low=0.01, high=0.05, real=True)),
        ("Clicks", Effect(value=0.03, low=-0.01, high=0.07, real=False)),
    ]
    drawn = effects_chart(effects)
    assert list(drawn.datasets["rows"]["look"]) == ["real", "open"]
    assert all(title.endswith(")") for title in axis_titles(drawn.spec))


@pytest.mark.parametrize("name", ["loss", "participation", "peak", "client loss", "traffic", "total"])
def test_a_jobs_first_round_is_seen(name):
    drawn = (DRAWN | {"peak": peak_memory_chart})[name](rounds(1)[1:])
    table = drawn.datasets[ROWS]
    if name in ("traffic", "total"):
        assert drawn.spec["layer"][0]["mark"]["strokeWidth"] > 0, "an area of one round has no width"
        assert drawn.spec["layer"][0]["encoding"]["stroke"]["field"] == "series"
    elif name == "client loss":
        assert table.alone.tolist() == [True]
    else:
        assert (table.kind == "alone").sum() == 1
        assert "alone" in str(drawn.spec["layer"])


def test_points_of_a_line_are_not_alone():
    assert "alone" not in set(DRAWN["loss"](rounds(2)).datasets[ROWS].kind)
    assert not DRAWN["client loss"](rounds(2)).datasets[ROWS].alone.any()


def test_what_was_sent_begins_with_nothing_in_units_that_can_be_read():
    drawn = total_traffic_chart(rounds(1)[1:])
    assert set(drawn.datasets[ROWS].query("round == 0").value) == {0.0}
    assert "' MB'" in drawn.spec["layer"][0]["encoding"]["y"]["axis"]["labelExpr"]


def test_a_loss_that_is_off_is_not_drawn():
    told = [r.model_copy(update={"metrics": {"train": {"contrastive_loss": 0.0}}}) for r in rounds(5)]
    assert loss_chart({"a run": told}, "contrastive_loss", "Contrastive loss (nats)").empty


@pytest.mark.parametrize(
    ("values", "level", "place"),
    [
        ((0.1, 0.2, 0.9), 0.1, "right above"),
        ((0.9, 0.5, 0.1), 0.1, "left above"),
        ((0.2, 0.6, 1.0), 0.96, "left below"),
        ((1.0, 0.6, 0.2), 0.96, "right above"),
    ],
)
def test_the_name_of_a_level_keeps_away_from_the_curve(values, level, place):
    curve = [Point("a run", number, value) for number, value in enumerate(values)]
    (chosen,) = places([level], curve, 0.0, 1.0)
    assert chosen.split()[0] == place.split()[0]


@pytest.mark.parametrize(("level", "side"), [(0.20, "below"), (0.14, "above")])
def test_the_name_of_a_level_is_not_cut_off_at_the_bottom(level, side):
    curve = [Point("a run", number, level + 0.09) for number in range(3)]
    (chosen,) = places([level], curve, 0.0, 1.0)
    assert chosen.endswith(side)


def test_names_of_two_levels_do_not_lie_on_each_other():
    curve = [Point("a run", number, 0.9) for number in range(3)]
    one, other = places([0.30, 0.31], curve, 0.0, 1.0)
    assert one != other
    assert one.endswith("below") or one.split()[0] != other.split()[0]


def test_the_legend_of_parts_names_those_that_the_answer_has():
    parts = ScoreParts(sequence=2, experts={"text": 0}, availability=0, popularity=0, remembered=())
    item = RecommendedItem(item_id="1", title="D", genres=(), year=None, score=2, explanation=parts)
    answer = RecommendationResponse(
        user_id=None, items=(item,), strategy="model", model_version="m", dataset="d", round=1
    )
    assert parts_chart(answer).spec["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["Sequence model"]
