"""What the columns of a table mean: ids, times, ratings and kinds of events, good and bad."""

import json
import logging
import uuid
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedmem.data.formats import Reading, read_interactions
from fedmem.errors import ConfigError, DataError


@pytest.fixture
def read(tmp_path):
    """Read a csv of these lines, or a parquet file of these columns."""

    def call(content, **options):
        if isinstance(content, dict):
            path = tmp_path / "log.parquet"
            pq.write_table(pa.table(content), path)
        else:
            path = tmp_path / "log.csv"
            path.write_text("\n".join(content) + "\n", encoding="utf-8")
        return read_interactions(path, Reading(**options))

    return call


def ids(*items):
    return ["user_id,item_id", *(f"u,{item}" for item in items)]


def at(*times):
    return ["user_id,item_id,timestamp", *(f"u,i,{time}" for time in times)]


# --- ids


def test_the_same_id_from_every_type(read):
    for column in (pa.array(["7", "12"]), pa.array([7, 12]), pa.array([7.0, 12.0]), pa.array([7, 12], pa.float32())):
        assert read({"user_id": ["u", "v"], "item_id": column}).items.tolist() == ["7", "12"]
    dictionary = pa.array(["7", "12", "7"]).dictionary_encode()
    assert read({"user_id": ["u", "v", "w"], "item_id": dictionary}).items.tolist() == ["7", "12", "7"]
    assert read({"user_id": ["u"], "item_id": pa.array([7], pa.decimal128(20, 2))}).items.tolist() == ["7"]


def test_floats_in_a_text_are_whole_numbers_if_all_of_them_are(read, caplog):
    with caplog.at_level(logging.INFO):
        assert read(ids("7.0", "NULL", "12.0"), skip_bad_rows=1).items.tolist() == ["7", "12"]
    assert "every item_id is a whole number with a point, as 7.0: read as 7" in caplog.text
    assert read(ids("7.0", "7", "1.1")).items.tolist() == ["7.0", "7", "1.1"]
    assert read(ids("007.0", "9007199254740991.0")).items.tolist() == ["007", "9007199254740991"]
    for beyond in ("9007199254740992.0", "9" * 400 + ".0"):
        with pytest.raises(DataError, match=r"log.csv:3: the item_id (9007199254740992.0|inf) is "):
            read(ids("7.0", beyond))


@pytest.mark.parametrize(
    ("column", "fault"),
    [
        (pa.array([1.0, 2.0**53]), "row 2: the item_id 9007199254740992.0 is a float, which cannot tell"),
        (pa.array([1.0, 2.0**24], pa.float32()), "row 2: the item_id 16777216.0 is a float, .* from 16777216 on"),
        (pa.array([1.0, 2.0**11], pa.float16()), "row 2: the item_id 2048.0 is a float, .* from 2048 on"),
        (pa.array([1.0, np.inf]), "row 2: the item_id inf is no whole number"),
        (pa.array([1.0, 1.5]), "row 2: the item_id 1.5 is no whole number"),
        (pa.array([True, False]), "row 1: the item_id True is a bool"),
        (pa.array([b"a", b"\xff"]), r"row 2: the item_id b'\\xff' is bytes that are no UTF-8 text"),
        (pa.array(["a", "b\0"]), r"row 2: the item_id 'b\\x00' holds the character"),
        (pa.array(["a", "x" * 513]), "row 2: .* has 513 characters"),
        (pa.array([datetime(2025, 1, 1)] * 2), "row 1: the item_id .* is a datetime"),
        (pa.array([[1], [2]]), "the column 'item_id' holds values of type list"),
        (pa.array([{"a": 1}] * 2), "the column 'item_id' holds values of type struct"),
    ],
)
def test_what_cannot_be_an_id_is_named(read, column, fault):
    with pytest.raises(DataError, match=rf"log.parquet:? ?{fault}") as error:
        read({"user_id": ["u", "v"], "item_id": column})
    assert "\n" not in str(error.value)


def test_a_uuid_is_text(read):
    values = [uuid.UUID(int=2**100 + n) for n in (1, 2, 1)]
    storage = pa.array([value.bytes for value in values], pa.binary(16))
    found = read({"user_id": pa.ExtensionArray.from_storage(pa.uuid(), storage), "item_id": ["a", "b", "c"]})
    assert found.users.tolist() == list(map(str, values))


@pytest.mark.parametrize("marker", ["NULL", "None", r"\N", "<NA>", "nan", "N/A", "NA", ""])
def test_markers_of_missing_ids_are_counted_by_kind(read, marker, caplog):
    with pytest.raises(DataError, match=r"log.csv:3: .*item_id.*2 bad rows"):
        read(ids("a", marker, marker))
    with caplog.at_level(logging.WARNING):
        found = read(ids("a", marker, "x" * 600), skip_bad_rows=2)
    assert found.items.tolist() == ["a"]
    assert found.left_out == {"no item_id": 1, "unusable item_id": 1}
    assert "2 bad rows are left out (1 no item_id, 1 unusable item_id)" in caplog.text


def test_in_json_every_value_has_a_type_of_its_own(tmp_path):
    values = ["a", 1, 1.0, True, None, [1], {"a": 1}, 12345678901234567890, 1.5, float("nan"), "1"]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps({"user_id": "u", "item_id": value}) for value in values))
    found = read_interactions(path, Reading(skip_bad_rows=6))
    assert found.items.tolist() == ["a", "1", "1", "12345678901234567890", "1"]
    assert found.left_out == {"unusable item_id": 4, "no item_id": 2}


# --- times


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ((0, 1, 2), [0, 1, 2]),
        ((5, 5, 5), [5, 5, 5]),
        ((-86400, 0, 86400), [-86400, 0, 86400]),
        ((1700000000, 0, 1700000001), [1700000000, 0, 1700000001]),
        ((1700000000000, 1700000001500), [1700000000.0, 1700000001.5]),
        ((1700000000000000, 5), [1700000000.0, 0.000005]),
        ((1700000000000000000, 1700000000500000000), [1700000000.0, 1700000000.5]),
        (("1700000000.25", 1700000000), [1700000000.25, 1700000000]),
        (("2025-12-31", "2025-12-31T12:00:00+01:00"), [1767139200, 1767178800]),
        (("2025-12-31 11:00:00 UTC", "2025-12-31 11:00"), [1767178800, 1767178800]),
        (("31.12.2025", "01.02.2025"), [1767139200, 1738368000]),
        (("12/31/2025 10:30", "02/01/2025 00:00"), [1767177000, 1738368000]),
        (("2025/12/31", "2025/02/01"), [1767139200, 1738368000]),
    ],
)
def test_times(read, times, seconds):
    found = read(at(*times))
    assert found.timestamps.tolist() == seconds
    assert not found.numbered


@pytest.mark.parametrize(
    ("odd", "form", "others"),
    [
        ("31.02.2025 10:00", "%d.%m.%Y %H:%M", ("01.11.2025 10:00", "30.12.2025 00:00", "13.01.2025 09:30")),
        ("01.11.2025", "%d.%m.%Y %H:%M", ("01.11.2025 10:00", "30.12.2025 00:00")),
        ("yesterday", "%Y/%m/%d", ("2025/12/31", "2025/02/01")),
    ],
)
def test_a_date_that_breaks_the_form_of_the_others_is_the_bad_row(read, odd, form, others):
    with pytest.raises(
        DataError, match=rf"log.csv:3: the timestamp '{odd}' is no date of the form {form}; mend"
    ) as said:
        read(at(others[0], odd, *others[1:]))
    assert "there are" not in str(said.value), "it is the only one"
    found = read(at(others[0], odd, *others[1:]), skip_bad_rows=1)
    assert (len(found), found.rows_skipped) == (len(others), 1)


def test_a_form_that_most_dates_have_and_may_be_another_is_asked_for(read):
    with pytest.raises(DataError, match=r"the timestamp '01/02/2025' and most others may be of the form %d/%m/%Y or "):
        read(at("33/33/2025", "01/02/2025", "11/12/2025"))


def test_bad_rows_are_told_apart_from_those_that_are_not_liked(read, caplog):
    rows = zip((1, 2, "never", 4, 5), ("buy", "view", "view", "view", "buy"), strict=True)
    table = ["user_id,item_id,timestamp,event", *(f"u,i,{time},{event}" for time, event in rows)]
    found = read(table, event_column="event", positive="buy", skip_bad_rows=1)
    assert (len(found), found.rows_skipped, found.not_liked) == (2, 1, 2)
    assert "1 bad rows are left out (1 unusable timestamp)" in caplog.text
    assert found.left_out == {"unusable timestamp": 1, "event view": 3}


def test_a_form_of_dates_that_may_be_another_is_asked_for(read):
    with pytest.raises(
        DataError, match=r"log.csv: the timestamp '01/02/2025' .* of the form %d/%m/%Y or %m/%d/%Y; say"
    ):
        read(at("01/02/2025", "11/12/2025"))
    assert read(at("01/02/2025"), date_format="%d/%m/%Y").timestamps.tolist() == [1738368000]
    assert read(at("01/02/2025"), date_format="%m/%d/%Y").timestamps.tolist() == [1735776000]


def test_a_date_of_another_form_than_the_one_that_is_told(read):
    with pytest.raises(DataError, match=r"log.csv:3: the timestamp '12/31/2025' .* nor a date of the form %d/%m/%Y"):
        read(at("31/12/2025", "12/31/2025"), date_format="%d/%m/%Y")


def test_days_without_signs_between_are_asked_for(read):
    with pytest.raises(DataError, match=r"log.csv: every timestamp is a day .*\(20251231\).*--date-format %Y%m%d"):
        read(at(20251231, 20250201))
    assert read(at(20251231, 20250201), date_format="%Y%m%d").timestamps.tolist() == [1767139200, 1738368000]
    assert read(at(20251231, 20250299)).timestamps.tolist() == [20251231, 20250299]  # steps


@pytest.mark.parametrize(
    ("times", "fault"),
    [
        (
            (1700000000, 1700000001, 1700000000000),
            "log.csv:4: the timestamp 1700000000000 is in milliseconds by its size, most .* in seconds",
        ),
        (
            (1700000000000, 1700000000, 1700000000001),
            "log.csv:3: the timestamp 1700000000 is in seconds by its size, most .* in milliseconds",
        ),
        ((1, 99999999999999999999999, 2), r"log.csv:3: the timestamp 1e\+23 is no time of the years 1 to 2100"),
        (("2025-12-31", 17, "2025-01-01"), "log.csv:3: the timestamp 17.0 is a number where others are dates"),
        (
            (1, 2, "2025-12-31"),
            r"log.csv:4: the timestamp 2025-12-31T00:00:00\+00:00 is a date where others are numbers",
        ),
        ((1, "NULL"), "log.csv:3: there is no timestamp"),
        (("31.12.2025", "yesterday"), "log.csv:2: the timestamp '31.12.2025' is neither a number .* nor an ISO"),
        (("1,700", "1,701"), "log.csv:2: the row has 4 fields"),
    ],
)
def test_a_time_that_does_not_fit_its_column_is_named(read, times, fault):
    with pytest.raises(DataError, match=fault):
        read(at(*times))


@pytest.mark.parametrize(("time", "advised"), [("01.02.25", True), ("Dec 31 2025", True), ("yesterday", False)])
def test_a_date_of_another_form_comes_with_the_option_for_it(read, time, advised):
    with pytest.raises(DataError, match=f"the timestamp '{time}' is neither") as error:
        read(at(time, time))
    assert ("say the form of other dates by --date-format" in str(error.value)) is advised
    with pytest.raises(DataError) as error:
        read(at(time, time), date_format="%d/%m/%Y")
    assert "say the form" not in str(error.value)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_type_that_names_its_unit_is_believed(read, unit):
    times = pa.array([datetime(1970, 1, 2), datetime(2025, 12, 31)], pa.timestamp(unit))
    assert read({"user_id": ["u"] * 2, "item_id": ["a"] * 2, "timestamp": times}).timestamps.tolist() == [
        86400,
        1767139200,
    ]


def test_the_day_numbers_of_a_spreadsheet_are_refused_and_whole_steps_are_not(read):
    with pytest.raises(
        DataError, match=r"log.csv: every timestamp is a day number .*45658.5 is 2025-01-01 12:00.*as text"
    ):
        read(at(45658.5, 45659.25, 45660))
    assert read(at(45658, 45659)).timestamps.tolist() == [45658, 45659]
    assert read(at(0.5, 45659)).timestamps.tolist() == [0.5, 45659]


@pytest.mark.parametrize("unit", ["s", "us"])
def test_a_type_in_which_a_time_is_of_no_year_is_refused(read, unit):
    """Milliseconds that were written as seconds, and a placeholder for no date."""
    times = pa.array([1764000000, 1764000000000 if unit == "s" else 253_402_214_400_000_000], pa.timestamp(unit))
    with pytest.raises(DataError, match=r"log.parquet:row 2: the timestamp \d+ s is no time of the years 1 to 2100"):
        read({"user_id": ["u"] * 2, "item_id": ["a"] * 2, "timestamp": times})


def test_days_and_zones_by_type(read):
    columns = {"user_id": ["u"], "item_id": ["a"]}
    assert read({**columns, "timestamp": pa.array([20453], pa.date32())}).timestamps.tolist() == [1767139200]
    zone = pa.array([1767139200], pa.timestamp("s", tz="Asia/Tokyo"))
    assert read({**columns, "timestamp": zone}).timestamps.tolist() == [1767139200]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([{"t": 1}]),
        pa.array([[1]]),
        pa.array([True]),
        pa.array([1], pa.time32("s")),
        pa.array([1], pa.duration("s")),
    ],
    ids=str,
)
def test_a_type_that_is_no_time_is_named(read, column):
    with pytest.raises(
        DataError, match=r"log.parquet: the column 'timestamp' holds values of type .*, which are no times"
    ):
        read({"user_id": ["u"], "item_id": ["a"], "timestamp": column})


@pytest.mark.parametrize("type", [pa.int64(), pa.timestamp("ns")], ids=str)
def test_rows_whose_seconds_become_one_stand_in_the_order_of_their_nanoseconds(read, type):
    times = pa.array([1_700_000_000_000_000_002, 1_700_000_000_000_000_001, 1_600_000_000_000_000_000]).cast(type)
    found = read({"user_id": ["a", "b", "c"], "item_id": ["x"] * 3, "timestamp": times})
    assert found.users.tolist() == ["c", "b", "a"]
    assert found.timestamps.tolist() == [1.6e9, 1.7e9, 1.7e9]


def test_a_decimal_comma(read):
    lines = ["user_id;item_id;timestamp;stars", "u;a;1700000000,5;4,5", "u;b;1700000001;3,0", "u;c;1700000002;1.000"]
    found = read(lines, rating_column="stars", positive_rating=3)
    assert found.timestamps.tolist() == [1700000000.5, 1700000001]


def test_a_comma_that_may_mean_thousands_is_no_number(read):
    with pytest.raises(DataError, match=r"log.csv:2: the stars '4,500' is no number"):
        read(["user_id;item_id;stars", "u;a;4,500", "u;b;3,000"], rating_column="stars", positive_rating=3)


# --- ratings and kinds of events

RATED = ["user_id,item_id,rating,timestamp", "u,a,5,1", "u,b,-1,2", "v,a,2.5,3", "v,c,4,4"]


def test_ratings_below_the_threshold_are_no_likes(read, caplog):
    with caplog.at_level(logging.INFO):
        found = read(RATED, rating_column="rating", positive_rating=4)
    assert found.items.tolist() == ["a", "c"]
    assert (found.not_liked, found.rows_skipped, found.left_out) == (2, 0, {"rating below 4": 2})
    assert "2 rows with a rating below 4 do not count as liked" in caplog.text


def test_ratings_that_are_passed_over_are_named_with_advice(read, caplog):
    with caplog.at_level(logging.INFO):
        assert len(read(RATED)) == 4
    assert caplog.text.count("'rating'") == 1
    assert "every row counts as liked, a low one too" in caplog.text
    assert "--rating-column rating --positive-rating 4" in caplog.text


@pytest.mark.parametrize("format", ["1::10::5::1\n1::11::2::2\n", "1\t10\t5\t1\n1\t11\t2\t2\n"])
def test_ratings_of_a_format_that_has_some(tmp_path, format, caplog):
    path = tmp_path / "ratings"
    path.write_text(format)
    with caplog.at_level(logging.INFO):
        assert len(read_interactions(path)) == 2
    assert "every rating counts as liked, a low one too; to count those from 4 on: --positive-rating 4" in caplog.text
    assert read_interactions(path, Reading(positive_rating=4)).items.tolist() == ["10"]


def test_a_rating_that_is_none_is_a_bad_row(read):
    lines = ["user_id,item_id,rating", "u,a,5", "u,b,", "u,c,good"]
    with pytest.raises(DataError, match=r"log.csv:3: the rating '' is no number"):
        read(lines, rating_column="rating", positive_rating=4)
    found = read(lines, rating_column="rating", positive_rating=4, skip_bad_rows=2)
    assert found.left_out == {"unusable rating": 2}


EVENTS = ["user_id,item_id,event", "u,a,view", "u,b,purchase", "v,a,like", "v,c,view", "v,c,dislike"]


def test_only_kinds_that_are_named_count(read, caplog):
    with caplog.at_level(logging.INFO):
        found = read(EVENTS, event_column="event", positive="purchase, like")
    assert found.items.tolist() == ["b", "a"]
    assert found.left_out == {"event view": 2, "event dislike": 1}
    assert "of the kinds in event (view 2, purchase 1, like 1, dislike 1) only like, purchase count" in caplog.text


def test_a_kind_that_is_not_there_is_named(read, caplog):
    with pytest.raises(DataError, match=r"no event is Purchase \(found: view 2, .*\); name others by --positive"):
        read(EVENTS, event_column="event", positive="Purchase")
    assert len(read(EVENTS, event_column="event", positive="Purchase,like")) == 1
    assert "no event is Purchase (found" in caplog.text


def test_kinds_that_are_passed_over_are_named_with_advice(read, caplog):
    assert len(read(EVENTS)) == 5
    assert "every row counts as liked, whatever its kind; to count some: --event-column event" in caplog.text


def test_everything_left_out_is_an_error_that_says_why(read):
    with pytest.raises(DataError, match=r"log.csv: the file holds no interactions \(left out: 4 rating below 9\)"):
        read(RATED, rating_column="rating", positive_rating=9)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"rating_column": "stars"}, "--positive-rating 4 beside --rating-column"),
        ({"event_column": "event"}, "--positive purchase,like beside --event-column"),
        ({"positive": "like"}, "by --event-column"),
        ({"date_format": "DD.MM.YYYY"}, "the date format 'DD.MM.YYYY' names no part of a date"),
        ({"encoding": "klingon"}, "the encoding 'klingon' is unknown"),
        ({"item_column": "user_id"}, "the column 'user_id' is named for two things"),
        ({"encoding": "base64"}, "the encoding 'base64' is unknown"),
        ({"encoding": "undefined"}, "the encoding 'undefined' is unknown"),
        ({"date_format": "%d.%d.%Y"}, "the date format '%d.%d.%Y' names a part twice"),
        ({"date_format": "%d.%Q"}, "the date format cannot be used: 'Q' is a bad directive"),
        ({"encoding": "punycode"}, "the encoding 'punycode' is unknown"),
        ({"encoding": "IDNA"}, "the encoding 'IDNA' is unknown"),
        ({"genre_separator": ""}, "the genre separator is empty"),
        ({"skip_bad_rows": -1}, "skip_bad_rows = -1 must be 0 or more"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, fault):
    with pytest.raises(ConfigError, match=fault):
        Reading(**options)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"rating_column": "stars", "positive_rating": 4}, "no column 'stars' .* by --rating-column"),
        ({"positive_rating": 4}, "no column 'rating' .* by --rating-column"),
        ({"event_column": "action", "positive": "like"}, "no column 'action' .* by --event-column"),
        ({"user_column": "who"}, "no column 'who' .* by --user-column"),
    ],
)
def test_a_column_that_is_named_must_be_there(read, options, fault):
    with pytest.raises(DataError, match=fault):
        read(["user_id,item_id", "u,a"], **options)


def test_columns_that_are_passed_over_are_named_once(read, caplog):
    with caplog.at_level(logging.INFO):
        read(["user_id,price,item_id,ordered_at", "u,1,a,2025-01-01"])
    assert caplog.text.count("passed over: 'price', 'ordered_at'") == 1
    assert "if 'ordered_at' holds the times: --timestamp-column ordered_at" in caplog.text
