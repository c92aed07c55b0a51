"""What was recommended and what came of it: attributed, counted, forgotten."""

import pytest

from fedmem.storage import impressions
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Event, InteractionColumns, ItemRow
from fedmem.storage.impressions import HOUR, ImpressionStore, ShownList, Tally
from tests.clock import Clock

NOW = 1_800_000_000.0


@pytest.fixture
def clock():
    clock = Clock()
    clock.now = NOW
    return clock


@pytest.fixture
def shop(engine, clock):
    """A data set of dates, and its catalogue."""
    store = CatalogueStore(engine, clock)
    rows = InteractionColumns(["u", "v"], ["a", "b"], [1.7e9, 1.7e9])
    store.write("shop", "the test", rows, [ItemRow(name) for name in "abcd"])
    return store


@pytest.fixture
def sample(engine, clock, shop):
    return ImpressionStore(engine, clock=clock)


def shown(name, user="u", items="abc", version="v1", at=NOW, **changes):
    values = {"dataset": "shop", "strategy": "model", "first": 1} | changes
    return ShownList(
        recommendation_id=name, user_id=user, item_ids=tuple(items), version=version, shown_at=at, **values
    )


def event(item, kind="interaction", user="u", at=NOW, **changes):
    return Event(user, item, at, kind, kind == "interaction", **changes)


def found(sample, user="u"):
    """By answer and item, whether it was clicked on and taken."""
    return {
        (row.recommendation_id, row.item_id): (row.clicked_at is not None, row.taken_at is not None)
        for row in sample.of_user("shop", user)
        if row.clicked_at or row.taken_at
    }


def test_an_event_counts_for_the_answer_it_names(shop, sample):
    sample.add([shown("first", at=NOW - 60), shown("second")])
    shop.take_feedback("shop", [event("b", "click", recommendation_id="first")])
    assert found(sample) == {("first", "b"): (True, False)}


def test_an_event_that_names_none_counts_for_the_newest_that_showed_the_item(shop, sample):
    sample.add([shown("first", at=NOW - 60), shown("second", at=NOW - 30), shown("other", items="d")])
    shop.take_feedback("shop", [event("b"), event("b", "click"), event("b", "view", user="v")])
    assert found(sample) == {("second", "b"): (True, True)}


def test_of_a_flood_of_answers_to_one_user_an_event_reads_a_few_and_the_one_it_names(shop, sample, monkeypatch):
    read, answer_to = [], impressions._answer_to

    def counted(event: Event, shown: impressions._Shown, *times: float):
        read.extend(row.recommendation_id for rows in shown.values() for row in rows)
        return answer_to(event, shown, *times)

    monkeypatch.setattr(impressions, "LOOKED_AT", 2)
    monkeypatch.setattr(impressions, "_answer_to", counted)
    sample.add(shown(f"{number}", at=NOW - 60 + number) for number in range(9))
    shop.take_feedback("shop", [event("a")])
    assert read == ["8", "7"]
    shop.take_feedback("shop", [event("b", recommendation_id="0")])
    assert found(sample) == {("8", "a"): (False, True), ("0", "b"): (False, True)}


@pytest.mark.parametrize(
    ("answered", "happened", "counts"),
    [
        (NOW - HOUR, NOW, True),
        (NOW - HOUR, NOW + 300, True),  # by a clock that is ahead
        (NOW - HOUR, NOW - HOUR - 30, True),  # by one that is behind
        (NOW - 23 * HOUR, NOW, True),
        (NOW - 25 * HOUR, NOW, False),
        (NOW - HOUR, NOW - 2 * HOUR, False),
        (NOW - HOUR, 1.75e9, False),
    ],
)
def test_only_what_follows_within_the_window_counts(shop, sample, answered, happened, counts):
    """Feedback that comes late says when it was; what was before the answer did not come of it."""
    sample.add([shown("one", at=answered)])
    shop.take_feedback("shop", [event("b", at=happened)])
    assert bool(found(sample)) == counts


def test_a_step_is_no_time(engine, clock, sample):
    store = CatalogueStore(engine, clock)
    store.write("steps", "the test", InteractionColumns(["u"], ["a"], [1.0]), [ItemRow("a"), ItemRow("b")])
    sample.add([shown("one", dataset="steps")])
    store.take_feedback("steps", [event("b", at=2.0)])
    assert [row.taken_at for row in sample.of_user("steps", "u") if row.taken_at] == [NOW]


def test_a_retry_changes_nothing(shop, sample, clock):
    sample.add([shown("one"), shown("one")])
    for weight in (2.0, 5.0):
        shop.take_feedback("shop", [event("b", weight=weight), event("a", "click")])
    clock.now += 60
    assert sample.tally("shop", "version", 0) == [Tally("v1", 1, 1, 1, 1, 2.0)]


def test_answers_are_counted_not_their_items(shop, sample, clock):
    sample.add([shown("one"), shown("two", version="v2", strategy="popularity", first=3), shown("three", "v")])
    shop.take_feedback(
        "shop", [event("a", user="v"), event("b", user="v"), event("c", "click", recommendation_id="two")]
    )
    assert sample.tally("shop", "version", 0) == [Tally("v1", 2, 2, 0, 1, 2.0), Tally("v2", 1, 1, 1, 0, 0.0)]
    assert {tally.group: tally.answers for tally in sample.tally("shop", "strategy", 0)} == {
        "model": 2,
        "popularity": 1,
    }
    assert {tally.group: (tally.answers, tally.hits) for tally in sample.tally("shop", "position", 0)} == {
        "1": (2, 1), "2": (2, 1), "3": (3, 0), "4": (1, 0), "5": (1, 0),
    }  # fmt: skip
    clock.now += 25 * HOUR
    assert [tally.pending for tally in sample.tally("shop", "version", 0)] == [0, 0]
    assert sample.tally("shop", "version", NOW + 1) == []


def test_of_who_is_deleted_nothing_is_left_and_nothing_is_noted_again(shop, sample):
    sample.add([shown("one"), shown("two", user="v")])
    shop.delete_user("shop", "u")
    assert sample.add([shown("three"), shown("four", user="v")]) == 1
    assert sample.of_user("shop", "u") == []
    assert len(sample.of_user("shop", "v")) == 6
    shop.readmit_user("shop", "u")
    assert sample.add([shown("five")]) == 1


def test_what_is_too_old_or_too_much_goes(sample):
    sample.add([shown(f"{n}", at=NOW - n * 24 * HOUR) for n in range(5)])
    sample.keep(days=3.5, most=1000)
    assert {row.recommendation_id for row in sample.of_user("shop", "u")} == {"0", "1", "2", "3"}
    sample.keep(days=3.5, most=6)
    assert {row.recommendation_id for row in sample.of_user("shop", "u")} == {"0", "1"}


def test_answers_of_a_data_set_that_is_gone_are_passed_over(shop, sample):
    assert sample.add([shown("one", dataset="gone"), shown("two")]) == 1
    shop.remove("shop")
