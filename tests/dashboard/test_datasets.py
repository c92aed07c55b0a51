"""The Data sets page on a real API: a file is looked at, what is wrong with it is said, and it is imported."""

import dataclasses

import pytest

from dashboard.components.reading_fields import FIELDS, FORMATS, in_words_of_the_page
from fedmem.data import formats
from tests.dashboard.sites import backend_on, read, word_tables
from tests.dashboard.test_pages import words
from tests.end_to_end.products import Product
from tests.waiting import until

ORDERS = b"customer,sku,when\n" + b"".join(
    b"c%d,%s%d,%d\n" % (n % 5, b"S" if n % 7 == 6 else b"s", n % 7, n + 10**9) for n in range(40)
)
THINGS = b"sku,title,genres\n" + b"".join(b"s%d,Thing %d,Tools\n" % (n, n) for n in range(8))
COLUMNS = {"user_column": "customer", "item_column": "sku", "timestamp_column": "when"}


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    product = Product.made(tmp_path_factory.mktemp("datasets"))
    with backend_on(product.url, product.data_dir) as address:
        yield address


def ended(app):
    """The page once the process that reads has ended."""
    return until(lambda: not app.run().get("progress"), "the end of the process", pause=0.1)


def test_the_options_are_those_of_the_readers():
    readers = dataclasses.asdict(formats.Reading())
    assert FIELDS.keys() == readers.keys()
    assert FORMATS[1:] == formats.FORMATS
    for name, field in FIELDS.items():
        assert field.default in ("" if readers[name] is None else str(readers[name]), "")


@pytest.mark.parametrize(
    ("said", "here"),
    [
        ("name it by --user-column, or --format; data import --unknown", "name it by “Column of users”, or “Format”; "),
        ("leave bad rows out with --skip-bad-rows N (there are 9)", "out with “Bad rows to leave out, at most” (there"),
        ("and --skip-bad-rows allows 2 (of 5)", "and “Bad rows to leave out, at most” allows 2 (of 5)"),
        ("if 'when' holds them: --timestamp-column when", "if 'when' holds them: when as “Column of times”"),
        (
            "to count those from 4 on: --rating-column My stars --positive-rating 4",
            "on: My stars as “Column of ratings” and 4 as “Smallest rating that counts”",
        ),
        (
            "--positive buy,like beside --event-column",
            "buy,like as “Kinds of events that count” beside “Column of kinds",
        ),
        ("between two: --genre-separator ';'", "between two: ';' as “Items: between two genres or tags”"),
        ("leave bad rows out by skip_bad_rows.", "out by “Bad rows to leave out, at most”."),
        ('with "skip_bad_rows": N', "with “Bad rows to leave out, at most”"),
        ("say so by date_format=%Y%m%d", "say so by %Y%m%d as “Form of dates”"),
    ],
)
def test_options_are_named_as_on_the_page_with_what_to_write(said, here):
    assert here in in_words_of_the_page(said)
    assert in_words_of_the_page(said).count("--unknown") == said.count("--unknown")


def test_a_file_is_looked_at_mended_by_options_and_imported(page, api):
    app = page("datasets", api)
    app.file_uploader[0].set_value(("shop.csv", ORDERS, "text/csv")).run()
    app.file_uploader[1].set_value(("things.csv", THINGS, "text/csv")).run()
    assert app.text_input[0].value == "shop"
    app.button(key="import-preview").click().run()
    ended(app)
    assert "no column 'user_id' (found: customer, sku, when)" in words(app)
    assert "“Column of users”, “Column of items” or “Column of times”" in words(app)
    for name, column in COLUMNS.items():
        app.text_input(key=f"reading-{name}").set_value(column)
    app.button(key="import-preview").click().run()
    ended(app)
    assert not app.error, words(app)
    assert {metric.label: metric.value for metric in app.metric} == {
        "Users": "5",
        "Items": "9",
        "Interactions": "40",
        "Left out": "0",
    }
    assert "shop.csv:1: read: users from 'customer', items from 'sku', times from 'when'" in words(app)
    assert "Without a title: 1 item (S6) of the interactions." in words(app)
    assert "In none of these interactions: 2 items (s6, s7) of the items file." in words(app)
    _, first, things = word_tables(app)
    assert first.iloc[0].to_dict() == {"User": "c0", "Item": "s0", "Title": "Thing 0", "Time": "2001-09-09 01:46:40"}
    assert list(things["Title"]) == [f"Thing {n}" for n in range(8)]
    assert list(word_tables(app)[0]["Data set"]) == ["tiny"], "nothing is stored yet"
    app.selectbox(key="reading-format").set_value("csv").run()
    assert "look at it again" in app.info[0].value
    assert "import-start" not in {button.key for button in app.button}
    app.selectbox(key="reading-format").set_value("auto").run()
    app.button(key="import-start").click().run()
    ended(app)
    assert "shop.csv is imported into shop: 40 new interactions, 0 were there; 9 new items" in read(
        app.success[0].value
    )
    assert "Without a title: 1 item (S6) of the interactions." in words(app)
    assert list(word_tables(app)[0]["Data set"]) == ["shop", "tiny"]
    assert app.file_uploader[0].value is None, "the file is let go"


def test_an_upload_that_is_gone_is_sent_again(page, api, monkeypatch):
    app = page("datasets", api)
    app.file_uploader[0].set_value(("gone.csv", ORDERS, "text/csv")).run()
    app.session_state["import"].uploads = ["0" * 32]
    app.button(key="import-preview").click().run()
    assert "not there any more" in words(app)
    app.button(key="import-preview").click().run()
    assert "not there any more" not in words(app)
    assert app.session_state["import"].uploads != ["0" * 32]
