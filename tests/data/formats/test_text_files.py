"""Text tables as people have them: encodings, separators, quotes, line ends, packed files."""

import codecs
import gzip
import io
import logging
import zipfile

import pytest

from fedmem.data.formats import Reading, read_interactions, read_items
from fedmem.data.formats.tables import opening
from fedmem.errors import DataError
from tests.data.formats.written_forms import PACKED

HEADER = "user_id,item_id,timestamp\n"


@pytest.fixture
def read(tmp_path):
    """Read a file of this content: rows of user, item and time."""

    def call(content, name="log.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = read_interactions(path, Reading(**options))
        return list(zip(found.users, found.items, found.timestamps.tolist(), strict=True))

    return call


@pytest.mark.parametrize("packing", [packing for packing in PACKED if packing])
def test_a_file_that_unpacks_to_very_much_more_is_refused(read, packing, monkeypatch):
    content = f"{HEADER}a,b,1\n" + "\n" * 200_000
    monkeypatch.setattr(opening, "ALWAYS", 200_100)
    packed = PACKED[packing](content.encode())
    assert read(packed, "small.csv") == [("a", "b", 1)]
    monkeypatch.setattr(opening, "ALWAYS", 1_000)
    monkeypatch.setattr(opening, "MOST_TIMES", 2)
    with pytest.raises(DataError, match=r"small\.csv unpacks to more than 2 times its size; unpack it by hand"):
        read(packed, "small.csv")


# --- encodings


def test_half_characters_of_an_encoding_are_no_text(read):
    half = b"+2AA-"  # in UTF-7: U+D800
    assert read(HEADER.encode() + b"a," + half + b",1\nb,c,2\n", encoding="utf-7", skip_bad_rows=1) == [("b", "c", 2)]


def test_a_file_that_an_encoding_makes_nothing_of(read):
    with pytest.raises(DataError, match=r"log\.csv:1: no known format starts with ''"):
        read(b"\n\0\0\0", encoding="utf-32-le")


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "utf-32", "utf-8-sig"])
def test_an_encoding_is_found_out_and_said(read, encoding, caplog):
    with caplog.at_level(logging.INFO):
        assert read(f"{HEADER}Zoë,Café,1\n".encode(encoding)) == [("Zoë", "Café", 1)]
    said = {"cp1252": "cp1252", "latin-1": "cp1252", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}.get(encoding)
    assert ("read as" in caplog.text) == (said is not None)
    assert said is None or f"log.csv: read as {said}; if letters are wrong, give another --encoding" in caplog.text


def test_an_encoding_that_is_told(read):
    assert read(f"{HEADER}Łukasz,ż,1\n".encode("cp1250"), encoding="cp1250") == [("Łukasz", "ż", 1)]
    assert read(codecs.BOM_UTF8 + f"{HEADER}Zoë,a,1\n".encode(), encoding="cp1252") == [("Zoë", "a", 1)]
    with pytest.raises(DataError, match=r"log.csv:2: the byte 0xc3 does not decode as ascii; give another --encoding"):
        read(f"{HEADER}Zoë,a,1\n".encode(), encoding="ascii")


def test_a_file_that_is_utf8_in_part_has_bad_rows(read):
    content = f"{HEADER}Zoë,a,1\n".encode() + b"Zo\xeb,b,2\nc,d,3\n"
    for quoted in (content, content.replace(b"c,d", b'c,"d"')):
        with pytest.raises(DataError, match=r"log.csv:3: the byte 0xeb does not decode as UTF-8"):
            read(quoted)
        assert read(quoted, skip_bad_rows=1) == [("Zoë", "a", 1), ("c", "d", 3)]


def test_items_in_another_encoding(tmp_path):
    path = tmp_path / "items.csv"
    path.write_bytes("item_id;title\n1;Amélie\n".encode("cp1252"))
    assert read_items(path)[0][0].title == "Amélie"


# --- separators and line ends


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "^", "~", ":"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_separator_is_found_by_the_names_of_the_columns(read, separator, line_end, quote):
    rows = [
        ("first; name" if separator == "," else "first, name", "user_id", "item_id", "timestamp"),
        ("A", "u", f"{quote}i-1{quote}", "7"),
    ]
    content = line_end.join(separator.join(row) for row in rows)
    assert read(content) == [("u", "i-1", 7)]


def test_a_line_by_which_a_spreadsheet_says_its_separator(read):
    assert read("sep=;\r\nuser_id;item_id;timestamp\r\nu;a,b;7\r\n") == [("u", "a,b", 7)]
    with pytest.raises(DataError, match=r"log.csv:4: there is no user_id"):
        read("sep=;\nuser_id;item_id;timestamp\nu;a;7\n;b;8\n")


def test_empty_columns_at_the_end_of_a_sheet(read):
    assert read("user_id;item_id;timestamp;;\nu;a;7;;\n;;;;\n") == [("u", "a", 7)]
    assert read('user_id;item_id;timestamp;;\nu;"a";7;;\n;;;;\n') == [("u", "a", 7)]


# --- quotes


def test_a_quoted_value_may_hold_line_ends_and_whole_rows(read):
    content = 'user_id,item_id,timestamp,review\nu,a,1,"liked\nv,b,2,plot\r\nand "" more"\nw,c,3,\n'
    assert read(content) == [("u", "a", 1), ("w", "c", 3)]
    with pytest.raises(DataError, match=r"log.csv:5: there is no user_id"):
        read(content.replace("w,c", ",c"))


@pytest.mark.parametrize(
    ("broken", "kept"),
    [
        ('v,b,2,"said "hello" twice"', 1),
        ('v,b,2,"said "hello" and\nx,y,8,"z""', 2),
        ('v,b,2,"one\nx,y,8,two" or,"three\nx,z,9,four"', 3),
        ("v,b,2,a\rb", 1),
        ('v,b,2,a\rb,"\nx,y,8,"', 2),
    ],
)
def test_no_row_is_made_of_a_row_with_broken_quotes(read, broken, kept):
    content = f'user_id,item_id,timestamp,review\nu,a,1,"fine"\n{broken}\nw,c,3,"fine"\n'
    with pytest.raises(DataError, match=r"log.csv:3: .*(broken|0x0d)"):
        read(content)
    assert read(content, skip_bad_rows=kept) == [("u", "a", 1), ("w", "c", 3)]
    if kept > 1:
        with pytest.raises(DataError, match=r"of \d"):
            read(content, skip_bad_rows=kept - 1)


@pytest.mark.parametrize("skipped", [0, 100])
def test_a_quoted_value_without_an_end(read, skipped):
    content = 'user_id,item_id,timestamp,review\nu,a,1,"fine"\nv,b,2,"never\nw,c,3,plot\n'
    with pytest.raises(DataError, match=r"log.csv:3: a quoted value begins in this row and does not end"):
        read(content, skip_bad_rows=skipped)
    with pytest.raises(DataError, match=r"log.csv:3: a quoted value begins in this row and does not end"):
        read(content.replace("never", 'a "b" never'), skip_bad_rows=skipped)


def test_a_quote_within_a_value_is_a_letter(read):
    assert read(f'{HEADER}u,5" disk,1\nv,"x",2\n') == [("u", '5" disk', 1), ("v", "x", 2)]


def test_many_broken_rows_take_time_that_grows_with_their_number_only(read):
    broken = 'v,b,2,"x"y\n' * 20_000
    assert read("user_id,item_id,timestamp,review\nu,a,1,\n" + broken, skip_bad_rows=20_000) == [("u", "a", 1)]


# --- packed files


def packed(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, f"{HEADER}u,a,1\n")
    return content.getvalue()


def test_an_archive_of_several_files_is_refused_with_their_names(read):
    assert read(packed("log.csv"), "log.zip") == [("u", "a", 1)]
    with pytest.raises(
        DataError, match=r"log.zip: the archive holds a.csv, b.csv, where one file was expected; unpack"
    ):
        read(packed("a.csv", "b.csv"), "log.zip")
    with pytest.raises(DataError, match="the archive holds nothing, where one file was expected"):
        read(packed(), "log.zip")
    with pytest.raises(DataError, match="the archive holds nothing"):
        read(packed("folder/"), "log.zip")


@pytest.mark.parametrize("form", ["gz", "bz2", "xz", "zst", "zip"])
@pytest.mark.parametrize("format", ["csv", "jsonl", "json"])
def test_a_damaged_file_is_named(read, form, format):
    whole = PACKED[f".{form}"](gzip.compress(bytes(range(256)) * 9) + HEADER.encode() * 999)
    with pytest.raises(DataError, match=r"log.csv.* damaged \(.*fetch or pack it again") as error:
        read(whole[: len(whole) // 2], format=format)
    assert "\n" not in str(error.value)
