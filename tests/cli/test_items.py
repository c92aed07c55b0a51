"""``fedmem items``, and the column of an items file that says what is available."""

import json

import pytest

from tests.cli.conftest import write_data


@pytest.fixture
def films(fedmem, tmp_path, database_url):
    folder = write_data(tmp_path / "films")
    url = ("--database-url", database_url)
    assert fedmem("data", "import", folder, *url).code == 0
    return folder, url


def hidden(fedmem, url) -> list[str]:
    return json.loads(fedmem("items", "hidden", "films", "--json", *url).out)


def test_items_are_hidden_and_shown_by_name_and_by_file(fedmem, films, tmp_path):
    _, url = films
    assert "2 items of films hidden" in fedmem("items", "hide", "films", "m01", "m02", *url).err
    (tmp_path / "ids").write_text("m02\n\nm03\n")
    assert "1 item of films hidden" in fedmem("items", "hide", "films", "--file", tmp_path / "ids", *url).err
    assert hidden(fedmem, url) == ["m01", "m02", "m03"]
    assert fedmem("items", "hidden", "films", *url).out.split() == ["m01", "m02", "m03"]
    assert "2 items of films shown again" in fedmem("items", "show", "films", "--file", tmp_path / "ids", *url).err
    assert hidden(fedmem, url) == ["m01"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hide", "films"), "name the items, or give --file"),
        (("hide", "films", "m01", "--file", "ids"), "name the items, or give --file"),
        (("hide", "films", "--file", "nowhere"), "nowhere: cannot be read"),
        (("hide", "films", "m01", "x1"), "no item 'x1'; nothing was changed"),
        (("hide", "books", "m01"), "there is no data set 'books'"),
        (("remove", "films", "m01"), "hide it instead"),
    ],
)
def test_what_cannot_be_done_is_one_error(fedmem, films, arguments, said):
    outcome = fedmem("items", *arguments, *films[1])
    assert (outcome.code, said in outcome.err, len(outcome.err.splitlines())) == (2, True, 1), outcome.err


def test_a_column_says_what_is_available_and_an_empty_cell_nothing(fedmem, films):
    folder, url = films
    fedmem("items", "hide", "films", "m01", "m05", *url)
    table = "item_id,title,available\nm01,One,yes\nm02,Two,0\nm03,Three,FALSE\nm05,Five,\nm31,New,no\n"
    (folder / "items.csv").write_text(table)
    outcome = fedmem("data", "import", folder, *url)
    assert outcome.code == 0, outcome.err
    assert hidden(fedmem, url) == ["m02", "m03", "m05", "m31"]
    assert "1 new item" in outcome.out
    (folder / "items.csv").write_text("item_id,title,available\nm01,One,perhaps\n")
    outcome = fedmem("data", "import", folder, *url)
    assert (outcome.code, "items.csv:2: the availability 'perhaps' is none of" in outcome.err) == (2, True), outcome.err
    assert "1 item" not in fedmem("items", "remove", "films", "m31", *url).err
    assert "m31" in hidden(fedmem, url), "models that know it do not offer it"
