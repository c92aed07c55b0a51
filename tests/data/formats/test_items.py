"""Items files of every format from small files made by hand, good and bad."""

import json
import logging

import pandas as pd
import pytest

from fedmem.data.formats import Reading, read_items
from fedmem.errors import DataError

FLAGS = "|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0"


def read(path, **options):
    return read_items(path, Reading(**options))[0]


@pytest.fixture
def written(tmp_path):
    """Write a file and give its path."""

    def write(content, name="items"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_movies_dat(written, encoding):
    content = "1::Toy Story (1995)::Animation|Children's|Comedy\n73::Misérables, Les (1995)::Drama|Musical\n"
    first, second = read(written(content.encode(encoding)))
    assert (first.item_id, first.title, first.year) == ("1", "Toy Story (1995)", 1995)
    assert first.genres == ("Animation", "Children's", "Comedy")
    assert first.text == "Toy Story (1995). Animation, Children's, Comedy"
    assert second.title == "Les Misérables (1995)"
    assert second.image_path is None


def test_u_item(written):
    content = (
        f"1|Toy Story (1995)|01-Jan-1995||http://example.org{FLAGS}\n"
        f"2|Café, The|24-Mar-1996||http://example.org|{'|'.join('0' * 17)}|0|1\n"
        f"267|unknown||||1|{'|'.join('0' * 18)}\n"
    )
    toy_story, cafe, unknown = read(written(content.encode("latin-1")))
    assert toy_story.genres == ("Animation", "Children's", "Comedy")
    assert (cafe.title, cafe.year, cafe.text) == ("The Café", 1996, "The Café (1996). Western")
    assert (unknown.title, unknown.genres, unknown.year, unknown.text) == ("unknown", (), None, "")


def test_genre_names_come_from_u_genre_where_it_is(written):
    written("\n".join(f"G{index}|{index}" for index in range(19)) + "\n\n", "u.genre")
    content = f"1|Toy Story (1995)|01-Jan-1995||http://example.org{FLAGS}\n"
    assert read(written(content))[0].genres == ("G3", "G4", "G5")


def test_a_u_genre_of_another_length_is_refused(written):
    path = written("Action|0\n", "u.genre")
    with pytest.raises(DataError, match=r"u.genre: 1 genres where 19 are expected"):
        read(written(f"1|Toy Story (1995)|01-Jan-1995||http://example.org{FLAGS}\n"))
    assert path.is_file()


def test_movies_csv(written):
    content = (
        "movieId,title,genres\r\n"
        '11,"American President, The (1995)",Comedy|Drama|Romance\r\n'
        "12,Zoë (2018),(no genres listed)\r\n"
    )
    president, zoe = read(written(content))
    assert (president.item_id, president.title, president.year) == ("11", "The American President (1995)", 1995)
    assert (zoe.title, zoe.genres, zoe.text) == ("Zoë (2018)", (), "Zoë (2018)")


def test_a_csv_with_every_column(written, tmp_path):
    (tmp_path / "a.png").write_bytes(b"picture")
    content = (
        "item_id,title,genres,year,image_path,text\n"
        'a,Dune,Sci-Fi | Drama,1984.0,a.png,"Spice,\nand worms."\n'
        "b,Emma,,,,\n"
    )
    dune, emma = read(written(content))
    assert (dune.genres, dune.year, dune.image_path) == (("Sci-Fi", "Drama"), 1984, tmp_path / "a.png")
    assert dune.text == "Dune (1984). Sci-Fi, Drama. Spice,\nand worms."
    assert (emma.year, emma.image_path, emma.text) == (None, None, "Emma")


def test_parquet(tmp_path):
    frame = pd.DataFrame({"item_id": [1, 2], "title": ["Dune", None], "year": [1984.0, None], "genres": ["A|B", None]})
    path = tmp_path / "items.parquet"
    frame.to_parquet(path)
    dune, second = read(path)
    assert (dune.item_id, dune.year, dune.genres) == ("1", 1984, ("A", "B"))
    assert (second.item_id, second.label, second.text) == ("2", "2", "")


def test_another_id_column(written):
    assert read(written("asin,title\nB00,Drill\n"), item_column="asin")[0].item_id == "B00"


@pytest.mark.parametrize("way", ["..", "absolute", "link", "folder of a link"])
def test_a_picture_outside_of_the_files_folder_is_refused(tmp_path, way):
    folder, secret = tmp_path / "data", tmp_path / "elsewhere" / "secret.png"
    for path in (folder, secret.parent):
        path.mkdir()
    secret.write_bytes(b"not for all")
    (folder / "link.png").symlink_to(secret)
    (folder / "pictures").symlink_to(secret.parent)
    names = {"..": "../elsewhere/secret.png", "absolute": str(secret), "link": "link.png"}
    (folder / "items.csv").write_text(
        f"item_id,title,image_path\n1,A,\n2,B,{names.get(way, 'pictures/secret.png')}\n", encoding="utf-8"
    )
    with pytest.raises(DataError, match=r"items\.csv:3: the picture .* lies outside of .*; copy it into the folder"):
        read(folder / "items.csv")


def test_a_link_within_the_folder_is_a_picture_like_any_other(written, tmp_path):
    (tmp_path / "a.png").write_bytes(b"picture")
    (tmp_path / "b.png").symlink_to("a.png")
    (item,) = read(written("item_id,title,image_path\n1,A,./b.png\n"))
    assert item.image_path.read_bytes() == b"picture"


def test_a_picture_that_is_not_there_is_none(written, caplog):
    with caplog.at_level(logging.WARNING):
        items = read(written("item_id,title,image_path\n1,A,gone.png\n"))
    assert items[0].image_path is None
    assert "1 pictures are named that do not exist (item 1)" in caplog.text


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("1::Toy Story (1995)::Comedy\n2::Jumanji\n", "items:2: the row has 2 fields where 3 are expected"),
        ("item_id,title\n1,A\n2\n", "items:3: the row has 1 field where 2 are expected"),
        ("item_id,title\n1,A\n,B\n", "items:3: there is no item_id"),
        ("item_id,title\n1,A\n1,B\n", "items:3: the item '1' stands already on line 2"),
        ("item_id,title,year\n1,A,1999\n2,B,soon\n", "items:3: the year 'soon' is not a whole number"),
        (f"1|A|||{FLAGS}\n2|B||{FLAGS}\n", "items:2: the row has 23 fields where 24 are expected"),
        (b"item_id,title\n1,\xc3\xa9\n2,\xe9\n", "items:3: the byte 0xe9 does not decode as UTF-8"),
        (b"1::A::B\n2::\x00::C\n", "items:2: the byte 0x00 is not text"),
    ],
)
def test_a_bad_row_names_its_line_and_can_be_left_out(written, content, fault):
    path = written(content)
    with pytest.raises(DataError, match=fault):
        read_items(path)
    items, skipped = read_items(path, Reading(skip_bad_rows=1))
    assert ([item.item_id for item in items], skipped) == (["1"], 1)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "items: the file is empty"),
        ("item_id,title\n", "items: the file holds no items"),
        ("id,title\n1,A\n", r"items:1: there is no column 'item_id' \(found: id, title\)"),
        ("item_id,name\n1,A\n", "items:1: there is no column 'title'"),
        ("What is this\n", "items:1: no known items format starts with 'What is this'"),
        ('item_id,title\n1,"A\n', "items:2: a quoted value begins in this row and does not end"),
        (b"PAR1 no more", "items is not a parquet file that can be read"),
    ],
)
def test_a_bad_file(written, content, fault):
    with pytest.raises(DataError, match=fault):
        read_items(written(content), Reading(skip_bad_rows=5))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"movies.dat does not exist; an items file .* was expected there"):
        read_items(tmp_path / "movies.dat")


def test_what_a_file_says_of_an_item_is_told_from_what_it_leaves_open(written):
    said = read(written("item_id,title,text\na,Dune,\nb,Solaris (1972),Oceans.\n"))
    assert [item.described for item in said] == [{"title", "text"}, {"title", "text", "year"}]
    assert [item.description for item in said] == ["", "Oceans."]


@pytest.mark.parametrize("name", ["items.jsonl", "items.json"])
def test_an_object_without_a_key_leaves_it_open_and_null_says_that_there_is_nothing(written, name):
    rows = [
        {"item_id": 1, "title": "A", "genres": None},
        {"item_id": 2, "genres": ["Drama"]},
        {"item_id": 3, "title": "B"},
    ]
    content = json.dumps(rows) if name == "items.json" else "\n".join(map(json.dumps, rows))
    assert [item.described for item in read(written(content, name))] == [{"title", "genres"}, {"genres"}, {"title"}]


def test_columns_of_other_names(written, caplog):
    content = "sku;product;labels;published;about;price\n7;Lamp;home, light;2001;Shines.;9\n"
    columns = {"title_column": "product", "genres_column": "labels", "year_column": "published", "text_column": "about"}
    with caplog.at_level(logging.INFO):
        (lamp,) = read(written(content), items_id_column="sku", genre_separator=",", **columns)
    assert (lamp.item_id, lamp.title, lamp.genres, lamp.year) == ("7", "Lamp", ("home", "light"), 2001)
    assert lamp.text == "Lamp (2001). home, light. Shines."
    assert lamp.described == {"title", "genres", "year", "text"}
    assert "passed over: 'price'" in caplog.text
    with pytest.raises(DataError, match=r"items:1: there is no column 'name' \(found: sku"):
        read(written(content), items_id_column="sku", title_column="name")


def test_a_file_may_describe_less_than_a_title(written):
    (item,) = read(written("item_id,genres\na,Drama|War\n"))
    assert (item.title, item.genres, item.described) == ("", ("Drama", "War"), {"genres"})


LISTS = [["Comedy", "Drama"], [], None]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(LISTS),
        pd.Series(['["Comedy", "Drama"]', "[]", None]),
        pd.Series(["['Comedy', 'Drama']", "[]", None]),
        pd.Series(["Comedy|Drama", "", None]),
        pd.Series([[b"Comedy", b"Drama"], [], None]),
    ],
)
def test_genres_as_lists(tmp_path, column):
    path = tmp_path / "items.parquet"
    pd.DataFrame({"item_id": [1, 2, 3], "title": ["A", "B", "C"], "genres": column}).to_parquet(path)
    assert [item.genres for item in read(path)] == [("Comedy", "Drama"), (), ()]


def test_genres_as_json_lists(written):
    rows = [{"item_id": n, "title": "T", "genres": genres} for n, genres in enumerate(LISTS)]
    for content in (json.dumps(rows), "\n".join(map(json.dumps, rows))):
        assert [item.genres for item in read(written(content))] == [("Comedy", "Drama"), (), ()]


def test_what_is_written_for_a_missing_value_describes_nothing(written, caplog):
    bare_row, told_row = "1\t\\N\t\\N\t\\N\tNULL", "2\tNone but the Brave\tDrama|NULL\t1965\tnull and void"
    content = f"item_id\ttitle\tgenres\tyear\ttext\n{bare_row}\n{told_row}\n"
    bare, told = read(written(content, "items.tsv"))
    assert (bare.title, bare.genres, bare.year, bare.text) == ("", (), None, "")
    assert bare.described == {"title", "genres", "year", "text"}
    assert (told.title, told.genres, told.description) == ("None but the Brave", ("Drama",), "null and void")
    assert r"1 titles are written as a missing value is ('\\N' of item 1)" in caplog.text


@pytest.mark.parametrize(
    ("genres", "sign"),
    [
        (("Comedy, Drama", "Crime"), ","),
        (("Comedy;Drama", "Crime;War", "War"), ";"),
        (("Comedy/Drama",), "/"),
        (("Comedy, Drama", "Crime|War"), None),  # a genre of two words
        (("Rock, Paper, Scissors", "Crime", "War", "Crime", "Drama"), None),
        (("Comedy", ""), None),
        (('["Comedy", "Drama"]',), None),
    ],
)
def test_a_separator_of_genres_that_may_be_another_is_named(written, caplog, genres, sign):
    rows = "".join(f"{number}\tTitle\t{text}\n" for number, text in enumerate(genres))
    found = read(written(f"item_id\ttitle\tgenres\n{rows}", "items.tsv"))
    assert ("--genre-separator" in caplog.text) == (sign is not None)
    if sign:
        assert found[0].genres == (genres[0],)
        assert f"--genre-separator '{sign}'" in caplog.text
        caplog.clear()
        read_items(written(f"item_id\ttitle\tgenres\n{rows}", "items.tsv"), Reading(genre_separator=sign))
        assert not caplog.text


def test_bytes_are_text(tmp_path):
    path = tmp_path / "items.parquet"
    pd.DataFrame({"item_id": [b"1"], "title": ["Amélie".encode()]}).to_parquet(path)
    assert [(item.item_id, item.title) for item in read(path)] == [("1", "Amélie")]


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        ({"title": b"\xff"}, r"row 1: the title b'\\xff' is bytes that are no UTF-8 text"),
        ({"title": ["A"]}, r"row 1: the title \['A'\] is a list"),
        ({"title": {"en": "A"}}, "row 1: the title .* is a dict"),
        ({"title": "A\0"}, r"row 1: the title 'A\\x00' holds the character"),
        ({"title": "A", "genres": [{"id": 1}]}, "row 1: the genres .* are no texts"),
        ({"title": "A", "year": "soon"}, "row 1: the year 'soon' is not a whole number"),
        ({"title": "A", "year": 20251}, "row 1: the year '20251' is not a whole number of four digits"),
        ({"title": "A", "year": [1]}, r"row 1: the year \[1\] is a list"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named(tmp_path, cells, fault):
    path = tmp_path / "items.parquet"
    pd.DataFrame({"item_id": [1], **{name: [cell] for name, cell in cells.items()}}).to_parquet(path)
    with pytest.raises(DataError, match=f"items.parquet:{fault}"):
        read(path)


def test_a_title_is_one_line(written):
    assert read(written('item_id,title\n1,"Two\nlines"\n'))[0].title == "Two lines"


def test_whole_floats_are_the_ids_of_whole_numbers(written):
    assert [item.item_id for item in read(written("item_id,title,year\n1.0,A,1990.0\n2.0,B,\n"))] == ["1", "2"]


def test_free_tags_are_read_as_genres_are_and_are_no_part_of_the_text(written):
    content = "item_id,title,tags\n1,Soup,vegan| gift |vegan\n2,Stew,\n3,Pie,\"['new', 'gift']\"\n"
    soup, stew, pie = read(written(content, "items.csv"))
    assert (soup.tags, stew.tags, pie.tags) == (("vegan", "gift"), (), ("new", "gift"))
    assert soup.text == "Soup"
    assert "tags" in stew.described
    (other,) = read(written("item_id,labels\n1,a;b\n", "more.csv"), tags_column="labels", genre_separator=";")
    assert (other.tags, other.described) == (("a", "b"), {"tags"})


def test_the_column_of_availability_may_be_named(written):
    content = "item_id,title,in_stock,available\n1,Soup,no,yes\n2,Stew,,no\n"
    assert [item.available for item in read(written(content))] == [True, False]
    assert [item.available for item in read(written(content), available_column="in_stock")] == [False, None]
    with pytest.raises(DataError, match="there is no column 'stock'"):
        read(written(content), available_column="stock")
    with pytest.raises(DataError, match="--tags-column or --available-column"):
        read(written("item_id,in_stock\n1,no\n"))
    (soup,) = read(written("item_id,in_stock\n1,no\n"), available_column="in_stock")
    assert (soup.available, soup.described) == (False, frozenset())
