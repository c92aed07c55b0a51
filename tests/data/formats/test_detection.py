"""Formats are recognised by what a file or a folder holds."""

import gzip

import pytest

from fedmem.data.formats import Reading, detect_format, locate
from fedmem.errors import ConfigError, DataError

FIRST_LINES = {
    "movielens-1m": "1::1193::5::978300760\n",
    "movielens-100k": "196\t242\t3\t881250949\n",
    "movielens-csv": "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n",
    "sasrec": "1 1\n1 2\n",
    "csv": "user_id,item_id\n1,2\n",
}


@pytest.mark.parametrize("format", FIRST_LINES)
def test_first_lines(tmp_path, format):
    path = tmp_path / "data"
    path.write_text(FIRST_LINES[format])
    assert detect_format(path) == format


@pytest.mark.parametrize(
    ("format", "first"), [("movielens-1m", "1::2\n"), ("movielens-100k", "196\t242\n"), ("sasrec", "1\n")]
)
def test_one_bad_first_line_does_not_hide_the_format(tmp_path, format, first):
    path = tmp_path / "data"
    path.write_text(first + FIRST_LINES[format] * 3)
    assert detect_format(path) == format


@pytest.mark.parametrize("content", ["Lorem ipsum dolor sit amet\n", "(1) and (2)\n"])
def test_an_unknown_format_shows_how_the_file_starts(tmp_path, content):
    path = tmp_path / "data"
    path.write_text(content)
    with pytest.raises(DataError, match=r"data:1: no known format starts with .*give --format"):
        detect_format(path)


@pytest.mark.parametrize(
    ("format", "ratings", "items"),
    [
        ("movielens-1m", "ratings.dat", "movies.dat"),
        ("movielens-100k", "u.data", "u.item"),
        ("movielens-csv", "ratings.csv", "movies.csv"),
        ("csv", "interactions.csv", "items.csv"),
        ("csv", "ratings.csv", "items.csv"),
        ("sasrec", "Video.txt", None),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_folders(tmp_path, format, ratings, items, zipped):
    content = FIRST_LINES[format].encode()
    path = tmp_path / (ratings + ".gz" * zipped)
    path.write_bytes(gzip.compress(content) if zipped else content)
    (tmp_path / "README.txt").write_text("What these data are, in a few words.\n")
    if items:
        (tmp_path / items).write_text("")
    expected = (path, format, tmp_path / items if items else None)
    for source in (locate(tmp_path), locate(tmp_path, Reading(format=format)), locate(path)):
        assert (source.interactions, source.format, source.items) == expected


def test_maps_beside_a_sasrec_file_are_not_taken_for_it(tmp_path):
    for name in ("ml-1m.txt", "sas_to_original_items.txt", "sas_to_original_users.txt"):
        (tmp_path / name).write_text("1 2\n")
    assert locate(tmp_path).interactions == tmp_path / "ml-1m.txt"


def test_several_sequence_files_must_be_told_apart(tmp_path):
    for name in ("Beauty.txt", "Video.txt"):
        (tmp_path / name).write_text("1 2\n")
    with pytest.raises(DataError, match=r"\(Beauty.txt, Video.txt\); name one of them"):
        locate(tmp_path)


def test_a_folder_without_ratings_names_what_was_expected(tmp_path):
    (tmp_path / "movies.dat").write_text("1::Toy Story (1995)::Comedy\n")
    with pytest.raises(DataError, match=r"holds none of ratings.dat, u.data, ratings.csv, .*`user item`"):
        locate(tmp_path)
    with pytest.raises(DataError, match=r"holds none of ratings.dat; name the file of interactions itself"):
        locate(tmp_path, Reading(format="movielens-1m"))


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist; .* was expected there"):
        locate(tmp_path / "nowhere")


def test_an_unknown_format_name(tmp_path):
    with pytest.raises(ConfigError, match="format 'xml' is unknown"):
        locate(tmp_path, Reading(format="xml"))
