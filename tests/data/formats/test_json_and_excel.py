"""JSON lines, JSON arrays, Excel workbooks and folders of parquet parts: what is their own."""

import json
import logging

import openpyxl
import pandas as pd
import pytest

from fedmem.data.formats import Reading, load_dataset, locate, read_dataset, read_interactions, read_items
from fedmem.data.formats.tables import json_table
from fedmem.errors import DataError

ROWS = [{"user_id": "u", "item_id": "a", "timestamp": 1}, {"user_id": "v", "item_id": "b", "timestamp": 2}]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def rows_of(found):
    return list(zip(found.users, found.items, found.timestamps.tolist(), strict=True))


@pytest.fixture
def log(tmp_path):
    """Write a file and give its path."""

    def write(content, name="log.jsonl"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("name", ["log.jsonl", "log.json"])
def test_an_encoding_that_wants_a_mark_is_said(log, name):
    content = json.dumps(ROWS) if name.endswith("json") else lines(ROWS)
    with pytest.raises(DataError, match=f"{name} is not text in utf-16 that can be read"):
        read_interactions(log(content.encode("utf-16-le"), name), Reading(format=name[4:], encoding="utf-16"))


# --- JSON lines


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"user_id": "w"', r"""the line '\{"user_id": "w"' is no JSON object \("""),
        ("[1, 2]", r"the line '\[1, 2\]' is no JSON object"),
        (
            '{"user_id": "w", "item_id": "a", "item_id": "b"}',
            ".* is no JSON object .the key 'item_id' stands twice in it",
        ),
        ('{"user_id": "w", "item_id": 9' + "9" * 5000 + "}", ".* is no JSON object .a number has thousands of digits"),
        ("[" * 100_000, ".* is no JSON object .it is nested too deeply"),
        ('{"user_id": "w"}', "there is no item_id"),
        ('{"user_id": "w", "item_id": "c"}', "there is no timestamp"),
        ('{"user_id": "w", "item_id": "c", "timestamp": true}', "the timestamp 'True' is neither a number"),
        ('{"user_id": "w", "item_id": "c", "timestamp": [1]}', r"the timestamp '\[1\]' is neither a number"),
        (r'{"user_id": "w", "item_id": "\ud800", "timestamp": 3}', r"the item_id '\\ud800' holds the character"),
    ],
)
def test_a_bad_line_is_named_and_can_be_left_out(log, line, fault):
    path = log(lines(ROWS) + "\n" + line + "\n" + lines(ROWS[:1]))
    with pytest.raises(DataError, match=rf"log.jsonl:4: {fault}") as error:
        read_interactions(path)
    assert len(str(error.value)) < 500
    assert len(read_interactions(path, Reading(skip_bad_rows=1))) == 3


@pytest.mark.parametrize(("name", "row"), [("log.jsonl", "log.jsonl:3"), ("log.json", "log.json:row 3")])
def test_bytes_that_are_no_utf8(log, name, row):
    rows = [*ROWS, {"user_id": "Zo\u00eb", "item_id": "\u00e9", "timestamp": 3}]
    written = json.dumps(rows, ensure_ascii=False) if name == "log.json" else "".join(
        json.dumps(row, ensure_ascii=False) + "\n" for row in rows
    )  # fmt: skip
    path = log(written.encode("cp1252"), name)
    with pytest.raises(DataError, match=rf"{row}: the byte 0xeb does not decode as UTF-8 .* or give its --encoding"):
        read_interactions(path)
    assert len(read_interactions(path, Reading(skip_bad_rows=1))) == 2
    assert rows_of(read_interactions(path, Reading(encoding="cp1252")))[2] == ("Zo\u00eb", "\u00e9", 3)
    with pytest.raises(DataError, match=rf"{name} is not text in utf-16"):
        read_interactions(log(written.encode("utf-16")[:-1], name))


def test_rows_are_read_in_batches(log, monkeypatch):
    rows = [{"user_id": f"u{n % 3}", "item_id": n, "timestamp": 1700000000 + n} for n in range(10)]
    whole = rows_of(read_interactions(log(lines(rows))))
    monkeypatch.setattr(json_table, "BATCH", 3)
    assert rows_of(read_interactions(log(lines(rows)))) == whole
    assert rows_of(read_interactions(log(json.dumps(rows), "log.json"))) == whole


def test_a_key_that_comes_late_is_not_passed_over(log, monkeypatch):
    monkeypatch.setattr(json_table, "BATCH", 2)
    without = [{"user_id": "u", "item_id": "a"}] * 2
    with pytest.raises(DataError, match=r"log.jsonl:3: the key 'timestamp' is new"):
        read_interactions(log(lines([*without, *ROWS])))
    assert len(read_interactions(log(lines([*without, {**without[0], "price": 3}])))) == 3


def test_numbers_and_dates_may_not_be_mixed(log):
    rows = [{**ROWS[0], "timestamp": time} for time in (1700000000, "2025-01-01", 1700000001)]
    with pytest.raises(
        DataError, match=r"log.jsonl:2: the timestamp 2025-01-01T00:00:00\+00:00 is a date where others"
    ):
        read_interactions(log(lines(rows)))


def test_without_times_the_rows_are_the_order(log):
    found = read_interactions(log(lines([{"user_id": "u", "item_id": "a"}] * 2)))
    assert found.numbered
    assert found.timestamps.tolist() == [0, 1]


# --- JSON arrays


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('[{"user_id": "u"', "log.json is not a JSON array that can be read"),
        ('[{"user_id": "u", "item_id": "a"}, oops]', "log.json is not a JSON array that can be read"),
        ('[{"user_id": "u", "item_id": "a"}, 7]', "log.json:row 2: the element '7' is no JSON object"),
        (
            '[{"user_id": "w", "item_id": "a", "item_id": "b"}]',
            r"log.json:row 1: the element .* .the key 'item_id' stands twice in it",
        ),
        ('[{"user_id": 9' + "9" * 5000 + "}]", "log.json:row 1: the element .* .a number has thousands of digits"),
        ('[{"user_id": 9007199254740993.0, "item_id": "a"}]', "log.json:row 1: the user_id 9007199254740992.0 is a fl"),
        ("[]", "log.json: the file holds no interactions"),
        ('[{"user_id": "u"}]', r"log.json: there is no column 'item_id' \(found: user_id\)"),
    ],
)
def test_a_bad_array(log, content, fault):
    with pytest.raises(DataError, match=fault) as error:
        read_interactions(log(content, "log.json"))
    assert "\n" not in str(error.value)


# --- Excel


@pytest.fixture
def book(tmp_path):
    """Write a workbook of sheets by name."""

    def write(sheets, name="log.xlsx"):
        workbook = openpyxl.Workbook()
        workbook.remove(workbook.active)
        for title, rows in sheets.items():
            sheet = workbook.create_sheet(title)
            for row in rows:
                sheet.append(row)
        workbook.save(tmp_path / name)
        return tmp_path / name

    return write


def test_the_sheet_with_the_columns_is_read(book, caplog):
    orders = [["user_id", "item_id", "timestamp"], ["u", 7, 1700000000], [None, None, None], ["v", "007", 1700000001]]
    path = book({"read me": [["made by", "a shop"]], "orders": orders})
    with caplog.at_level(logging.INFO):
        found = read_interactions(path)
    assert rows_of(found) == [("u", "7", 1700000000), ("v", "007", 1700000001)]
    assert "of 2 sheets, 'orders' is read" in caplog.text


def test_a_bad_row_of_a_sheet_is_named_by_its_number(book):
    rows = [["user_id", "item_id"], ["u", "a"], [None, None], ["v", None]]
    with pytest.raises(DataError, match=r"log.xlsx:row 4: there is no item_id"):
        read_interactions(book({"orders": rows}))


def test_a_number_that_excel_has_rounded_is_refused(book):
    rows = [["user_id", "item_id"], ["u", 999999999999999], ["v", 1234567890123456]]
    with pytest.raises(DataError, match=r"log.xlsx:row 3: the item_id 1234567890123456.0 is a float"):
        read_interactions(book({"orders": rows}))


def test_empty_rows_above_the_header_of_a_sheet(book):
    rows = [["", ""], ["", ""], ["user_id", "item_id"], ["u", "a"], ["", ""], ["v", "NULL"]]
    path = book({"orders": rows})
    assert read_interactions(path, Reading(skip_bad_rows=1)).items.tolist() == ["a"]
    with pytest.raises(DataError, match=r"log.xlsx:row 6: the item_id 'NULL'"):
        read_interactions(path)


@pytest.mark.parametrize(
    ("sheets", "fault"),
    [
        ({"a": []}, "log.xlsx: the workbook is empty"),
        ({"a": [["x", "y"], [1, 2]]}, r"log.xlsx \(sheet 'a'\): there is no column 'user_id' \(found: x, y\)"),
        ({"a": [["user_id", "user_id"], [1, 2]]}, "the column 'user_id' stands twice"),
    ],
)
def test_a_workbook_without_what_is_needed(book, sheets, fault):
    with pytest.raises(DataError, match=fault):
        read_interactions(book(sheets))


def test_a_damaged_workbook(book):
    path = book({"a": [["user_id", "item_id"], [1, 2]]})
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"log.xlsx"):
        read_interactions(path)
    path.write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    with pytest.raises(DataError, match=r"log.xlsx is not an Excel workbook that can be read"):
        read_interactions(path)


# --- folders of parts


def test_a_folder_of_parts_may_differ_in_types(tmp_path):
    parts = tmp_path / "interactions.parquet" / "day=1"
    parts.mkdir(parents=True)
    pd.DataFrame({"user_id": [1, 2], "item_id": ["a", "b"], "timestamp": [1700000000, 1700000001]}).to_parquet(
        parts / "part-0.parquet"
    )
    second = pd.DataFrame({"user_id": ["1", None], "item_id": ["b", "c"], "timestamp": [1700000002.0, 1700000003.0]})
    second.to_parquet(parts / "part-1.parquet")
    (parts / ".part-1.parquet.crc").write_bytes(b"checksum")
    (tmp_path / "items.csv").write_text("item_id,title\na,Alpha\n")
    source = locate(tmp_path)
    assert (source.format, source.interactions.name) == ("parquet", "interactions.parquet")
    assert source.items.name == "items.csv"
    with pytest.raises(DataError, match=r"part-1.parquet:row 2: there is no user_id"):
        read_interactions(source.interactions)
    found = read_interactions(source.interactions, Reading(skip_bad_rows=1))
    assert rows_of(found)[::2] == [("1", "a", 1700000000), ("1", "b", 1700000002)]


def test_a_part_that_lacks_a_column_is_named(tmp_path):
    pd.DataFrame({"user_id": [1], "item_id": [2], "timestamp": [3]}).to_parquet(tmp_path / "part-0.parquet")
    pd.DataFrame({"user_id": [1], "item_id": [2]}).to_parquet(tmp_path / "part-1.parquet")
    with pytest.raises(DataError, match=r"part-1.parquet: of the parts .* some have a column 'timestamp', some none"):
        read_interactions(tmp_path)


# --- a whole shop


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet", "xlsx"])
def test_a_folder_of_any_kind_is_a_data_set(tmp_path, kind):
    log = pd.DataFrame({"user_id": ["u", "u", "u", "v", "v", "v"], "item_id": list("abcbca"), "timestamp": range(6)})
    titles = {"item_id": ["c", "new", "a"], "title": ["Gamma", "Nova", "Alpha"], "year": [1990, None, None]}
    for name, frame in (("interactions", log), ("items", pd.DataFrame(titles))):
        path = tmp_path / f"{name}.{kind}"
        {
            "csv": lambda frame, path: frame.to_csv(path, index=False),
            "jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
            "json": lambda frame, path: frame.to_json(path, orient="records", indent=2),
            "parquet": lambda frame, path: frame.to_parquet(path),
            "xlsx": lambda frame, path: frame.to_excel(path, index=False),
        }[kind](frame, path)
    interactions, items = read_dataset(tmp_path)
    assert len(interactions) == 6
    assert [(item.item_id, item.title, item.year) for item in items] == [
        ("a", "Alpha", None),
        ("b", "", None),
        ("c", "Gamma", 1990),
        ("new", "Nova", None),
    ]
    dataset = load_dataset(tmp_path, min_sequence_length=3)
    assert [item.title for item in dataset.items] == ["Alpha", "", "Gamma"]


def test_items_of_a_folder_of_parts(tmp_path):
    pd.DataFrame({"item_id": [1], "title": ["One"]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"item_id": [2], "title": ["Two"]}).to_parquet(tmp_path / "b.parquet")
    assert [item.title for item in read_items(tmp_path)[0]] == ["One", "Two"]
