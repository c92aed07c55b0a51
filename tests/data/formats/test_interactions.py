"""Interactions of every format from small files made by hand, good and bad."""

import gzip
import logging

import numpy as np
import pandas as pd
import pytest

from fedmem.data.formats import Reading, read_interactions
from fedmem.errors import ConfigError, DataError

ROWS = [("1", "10", 30), ("2", "9", 20), ("1", "9", 10)]

ML_1M = "1::10::5::30\n2::9::3::20\n1::9::4::10\n"
ML_100K = "1\t10\t5\t30\n2\t9\t3\t20\n1\t9\t4\t10\n"
ML_CSV = "userId,movieId,rating,timestamp\r\n1,10,5.0,30\r\n2,9,3.0,20\r\n1,9,4.0,10\r\n"
CSV = "timestamp,item_id,user_id\n30,10,1\n20,9,2\n10,9,1\n"
SASREC = "1 10\n2 9\n1 9\n"

TIMED = {"movielens-1m": ML_1M, "movielens-100k": ML_100K, "movielens-csv": ML_CSV, "csv": CSV}


@pytest.fixture
def written(tmp_path):
    """Write a file and give its path."""

    def write(content, name="data.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(path, format="auto", skip_bad_rows=0, **options):
    return read_interactions(path, Reading(format=format, skip_bad_rows=skip_bad_rows, **options))


def rows_of(interactions):
    return list(zip(interactions.users, interactions.items, interactions.timestamps.tolist(), strict=True))


@pytest.mark.parametrize("format", TIMED)
@pytest.mark.parametrize("given", ["auto", "named"])
def test_rows_are_read_in_file_order(written, format, given):
    interactions = read(written(TIMED[format]), "auto" if given == "auto" else format)
    assert rows_of(interactions) == ROWS
    assert interactions.timestamps.dtype == np.int64
    assert interactions.rows_skipped == 0


@pytest.mark.parametrize("format", TIMED)
def test_gzip_blank_lines_and_a_missing_last_line_end(written, format):
    content = TIMED[format].rstrip() + "\n\n   ".rstrip(" ") + ""
    assert rows_of(read(written(gzip.compress(content.encode()), "data.gz"))) == ROWS
    assert rows_of(read(written(TIMED[format].rstrip()))) == ROWS


@pytest.mark.parametrize("delimiter", [" ", "\t"])
def test_sasrec_rows_are_in_time_order_as_they_stand(written, delimiter):
    path = written(SASREC.replace(" ", delimiter))
    assert rows_of(read(path)) == [("1", "10", 0), ("2", "9", 1), ("1", "9", 2)]


def test_ids_need_not_be_numbers_and_may_be_quoted(written):
    content = '\ufeffuser_id,item_id,timestamp\n"Ada, Countess","say ""hi""",1\nBob,x::y,2\n'
    assert rows_of(read(written(content))) == [("Ada, Countess", 'say "hi"', 1), ("Bob", "x::y", 2)]


@pytest.mark.parametrize("delimiter", ["\t", ";"])
def test_a_csv_may_use_another_delimiter(written, delimiter):
    assert rows_of(read(written(CSV.replace(",", delimiter)))) == ROWS


def test_named_columns(written):
    path = written("when,who,what,stars\n1.5,a,x,3\n0.5,b,y,4\n")
    interactions = read(path, "csv", user_column="who", item_column="what", timestamp_column="when")
    assert rows_of(interactions) == [("a", "x", 1.5), ("b", "y", 0.5)]


def test_without_timestamps_the_row_number_is_the_time(written, caplog):
    with caplog.at_level(logging.WARNING):
        interactions = read(written("user_id,item_id\na,x\na,x\n"))
    assert rows_of(interactions) == [("a", "x", 0), ("a", "x", 1)]
    assert interactions.numbered
    assert "order of the rows" in caplog.text


def test_a_column_that_counts_rows_is_a_column_of_times(written):
    interactions = read(written("user_id,item_id,timestamp\na,x,0\na,x,1\n"))
    assert not interactions.numbered


def test_a_timestamp_column_that_was_named_must_be_there(written):
    with pytest.raises(DataError, match=r"data.txt:1: there is no column 'when' \(found: user_id, item_id\)"):
        read(written("user_id,item_id\na,x\n"), timestamp_column="when")


# Parquet


def parquet(tmp_path, frame):
    path = tmp_path / "data.parquet"
    pd.DataFrame(frame).to_parquet(path)
    return path


def test_parquet(tmp_path):
    frame = {"user_id": [1, 2, 1], "item_id": ["10", "9", "9"], "timestamp": [30, 20, 10], "rating": [1.0, 2.0, 3.0]}
    assert rows_of(read(parquet(tmp_path, frame))) == ROWS


def test_parquet_with_dates_and_whole_float_ids(tmp_path):
    times = pd.to_datetime(["2020-01-02", "2020-01-01"])
    found = rows_of(read(parquet(tmp_path, {"user_id": [1.0, 2.0], "item_id": [3, 4], "timestamp": times})))
    assert [row[:2] for row in found] == [("1", "3"), ("2", "4")]
    assert found[0][2] > found[1][2]


def test_a_missing_value_in_parquet_names_its_row(tmp_path):
    path = parquet(tmp_path, {"user_id": [1, None, 1], "item_id": [3, 4, 5], "timestamp": [1.0, 2.0, None]})
    with pytest.raises(DataError, match=r"data.parquet:row 2: there is no user_id.*2 bad rows"):
        read(path)
    assert rows_of(read(path, skip_bad_rows=2)) == [("1", "3", 1.0)]


def test_parquet_faults(tmp_path, written):
    with pytest.raises(DataError, match=r"data.parquet: there is no column 'item_id'"):
        read(parquet(tmp_path, {"user_id": [1]}))
    with pytest.raises(DataError, match=r"data.parquet is not a parquet file that can be read"):
        read(written(b"PAR1 and then nothing", "data.parquet"))
    with pytest.raises(DataError, match="column 'user_id' holds values of type list"):
        read(parquet(tmp_path, {"user_id": [[1]], "item_id": [1]}))


# Bad rows: each format, one error, the right line

BAD = {
    "movielens-1m": ("1::10::5", "the row has 3 fields where 4 are expected"),
    "movielens-100k": ("1\t10\t5", "the row has 3 fields where 4 are expected"),
    "movielens-csv": ("1,10", "the row has 2 fields where 4 are expected"),
    "csv": ("30,10", "the row has 2 fields where 3 are expected"),
}


@pytest.mark.parametrize("format", BAD)
def test_a_truncated_row_names_its_line(written, format):
    row, reason = BAD[format]
    content = TIMED[format] + "\n" + row + "\n" + TIMED[format].splitlines()[-1] + "\n"
    line = len(TIMED[format].splitlines()) + 2
    with pytest.raises(DataError, match=rf"data.txt:{line}: {reason}; mend the row or .*--skip-bad-rows"):
        read(written(content))
    kept = read(written(content), skip_bad_rows=1)
    assert rows_of(kept) == [*ROWS, ROWS[-1]]
    assert kept.rows_skipped == 1


def test_a_sasrec_row_with_one_field(written):
    with pytest.raises(DataError, match=r"data.txt:2: the row has 1 field where 2 are expected"):
        read(written("1 2\n3\n4 5\n"))


NO_TIMES = {
    "": "there is no timestamp",
    "NULL": "there is no timestamp",
    "NaN": "there is no timestamp",
    "inf": "the timestamp 'inf' is neither a number",
    "yesterday": "the timestamp 'yesterday' is neither a number",
    "2020-01-01": r"the timestamp 2020-01-01T00:00:00\+00:00 is a date where others are numbers",
    "1e300": r"the timestamp 1e\+300 is no time of the years",
}


@pytest.mark.parametrize("value", NO_TIMES)
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_timestamp_that_is_no_number(written, value, quote):
    path = written(f"user_id,item_id,timestamp\n{quote}a{quote},x,5\n\na,y,{value}\nb,z,7\n")
    with pytest.raises(DataError, match=rf"data.txt:4: {NO_TIMES[value]}"):
        read(path)
    kept = read(path, skip_bad_rows=1)
    assert rows_of(kept) == [("a", "x", 5), ("b", "z", 7)]


@pytest.mark.parametrize(("row", "what"), [(",x,1", "user_id"), ("a, ,1", "item_id")])
def test_a_missing_id(written, row, what):
    with pytest.raises(DataError, match=f"data.txt:3: there is no {what}"):
        read(written(f"user_id,item_id,timestamp\na,x,1\n{row}\n"))


def test_bytes_that_do_not_decode(written):
    content = "user_id,item_id,timestamp\na,x,1\nü,y,2\n".encode() + "é,z,3\n".encode("latin-1")
    with pytest.raises(DataError, match=r"data.txt:4: the byte 0xe9 does not decode as UTF-8"):
        read(written(content))
    assert len(read(written(content), skip_bad_rows=1)) == 2


def test_text_in_an_encoding_that_cannot_be_found_out(written):
    with pytest.raises(DataError, match=r"data.txt:1: the file is no UTF-8 text.*--encoding"):
        read(written(CSV.encode("utf-16-le")))
    with pytest.raises(DataError, match=r"data.txt:1: .* header .*--encoding"):
        read(written(CSV.encode("utf-16-le")), "csv", skip_bad_rows=100)
    assert rows_of(read(written(CSV.encode("utf-16-le")), encoding="utf-16-le")) == ROWS


def test_binary_noise_in_the_middle(written):
    with pytest.raises(DataError, match=r"data.txt:4: the byte 0x00 is not text"):
        read(written(ML_1M.encode() + b"1::\x00\x01::3::4\n"))


@pytest.mark.parametrize(
    "format", ["auto", "movielens-1m", "movielens-100k", "csv", "movielens-csv", "sasrec", "parquet"]
)
@pytest.mark.parametrize("skip", [0, 3])
@pytest.mark.parametrize("seed", range(3))
def test_binary_noise(written, format, skip, seed):
    path = written(np.random.default_rng(seed).bytes(5000))
    with pytest.raises(DataError, match=r"data.txt") as error:
        read(path, format, skip)
    assert "\n" not in str(error.value)
    assert str(error.value).isprintable()


def test_a_carriage_return_within_a_line(written):
    path = written("user_id,item_id,timestamp\r\na,x,1\r\nb,y\rz,2\r\nc,z,3\r\n")
    with pytest.raises(DataError, match=r"data.txt:3: the byte 0x0d is not text"):
        read(path)
    assert rows_of(read(path, skip_bad_rows=1)) == [("a", "x", 1), ("c", "z", 3)]


def test_a_header_too_long_for_names(written):
    with pytest.raises(DataError, match=r"data.txt:1: there is no column 'user_id'"):
        read(written("x" * 200_000), "csv")


def test_a_quote_that_does_not_end(written):
    path = written('user_id,item_id,timestamp\na,"x,1\nb,y,2\n')
    for skipped in (0, 100):  # whether b,y,2 is a row or a text cannot be told
        with pytest.raises(DataError, match=r"data.txt:2: a quoted value begins in this row and does not end before"):
            read(path, skip_bad_rows=skipped)


@pytest.mark.parametrize("content", [b"", b"\n \n", gzip.compress(b"", mtime=0)])
@pytest.mark.parametrize("format", ["auto", "movielens-1m", "csv", "sasrec", "parquet"])
def test_an_empty_file(written, content, format):
    with pytest.raises(DataError, match=r"data.txt: the file is empty"):
        read(written(content), format)


def test_a_header_alone(written):
    with pytest.raises(DataError, match=r"data.txt: the file holds no interactions"):
        read(written("user_id,item_id,timestamp\n"))


def test_a_missing_column(written):
    with pytest.raises(DataError, match=r"data.txt:1: there is no column 'user_id' \(found: user, item_id\)"):
        read(written("user,item_id\na,x\n"))


def test_a_file_without_a_header_is_told_so(written):
    with pytest.raises(DataError, match=r"\(found: u, x, 17\).* If '17' is a value, the header is missing: write one"):
        read(written("u,x,17\nv,y,18\n"), "csv")


@pytest.mark.parametrize("above", ["\n", " \r\n\n", ",,\n,,\n"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_empty_lines_above_the_header(written, above, quote):
    path = written(f"{above}user_id,item_id,timestamp\n{quote}a{quote},x,1\nb,,2\n")
    assert rows_of(read(path, skip_bad_rows=1)) == [("a", "x", 1)]
    line = above.count("\n") + 3
    with pytest.raises(DataError, match=rf"data.txt:{line}: there is no item_id"):
        read(path)


def test_a_column_that_stands_twice(written):
    with pytest.raises(DataError, match=r"data.txt:1: the column 'user_id' stands twice"):
        read(written("user_id,user_id,item_id\na,a,x\n"))


def test_a_damaged_gzip_file(written):
    with pytest.raises(DataError, match="the gzip file is damaged"):
        read(written(gzip.compress(ML_1M.encode() * 100)[:-20]))


def test_a_line_longer_than_a_parser_block(written):
    for quote in ("", '"'):
        text = written(f"user_id,item_id,timestamp,review\na,x,1,{quote}{'x' * 3_000_000}{quote}\n")
        assert rows_of(read(text)) == [("a", "x", 1)]


def test_more_bad_rows_than_are_put_up_with(written):
    content = "1::2::3::4\n1::2\n1::2::3::x\n5::6::7::8\n1::2::3\n"
    with pytest.raises(DataError, match=r"data.txt:5: the row has 3 fields .* bad row 3 .* allows 2 \(of 3\)"):
        read(written(content), skip_bad_rows=2)
    assert read(written(content), skip_bad_rows=3).rows_skipped == 3


def test_values_out_of_range(written):
    with pytest.raises(ConfigError, match="skip_bad_rows = -1"):
        read(written(ML_1M), skip_bad_rows=-1)
    with pytest.raises(ConfigError, match="format 'xml' is unknown; use auto or one of movielens-1m"):
        read(written(ML_1M), "xml")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"nothing.dat does not exist; .*interactions.* was expected there"):
        read(tmp_path / "nothing.dat")
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path, "csv")


def test_dates_are_times(written):
    content = "user_id,item_id,timestamp\na,x,2024-01-02\na,y,2024-01-01T12:00:00Z\nb,x,1970-01-01\n"
    found = read(written(content), "csv")
    assert found.timestamps.tolist() == [1704153600.0, 1704110400.0, 0.0]
