"""What is done about an upload, in this process: what a preview says, what an import has done, and what is wrong."""

import json

import pytest

from fedmem.contracts.uploads import ImportUpload, ReadUpload, SomeItems
from fedmem.errors import ConfigError
from fedmem.importing import uploads as uploads_module
from fedmem.importing.preview import checked_options
from fedmem.importing.task import MOST_REMARKS, Task
from fedmem.importing.uploads import ORDER, Uploads, write_state
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns, ItemRow
from fedmem.storage.engine import connect

ORDERS = "customer,sku,stars,price\n" + "".join(f"c{n % 5},s{n % 7},{n % 6},1\n" for n in range(40))
ORDERS += "c0,s0,5,1\n"
ITEMS = "sku,title,genres,year,image_path\n" + "".join(
    f"s{n},Thing {n},Tools|Garden,{2000 + n},s{n}.jpg\n" for n in range(9)
)
OPTIONS = {"user_column": "customer", "item_column": "sku"}


@pytest.fixture
def store(database_url):
    engine = connect(database_url)
    yield CatalogueStore(engine)
    engine.dispose()


@pytest.fixture
def uploads(tmp_path, database_url, monkeypatch):
    """Uploads whose process does nothing: the test does it."""

    class Idle:
        def __init__(self, *command, **options): ...
        def wait(self): ...

    monkeypatch.setattr(uploads_module.subprocess, "Popen", Idle)
    return Uploads(tmp_path / "uploads", database_url)


@pytest.fixture
def done(uploads, database_url, tmp_path):
    """``done(id, order)``: what is told once it is done."""

    def do(upload_id, order):
        uploads.start(upload_id, order)
        Task(tmp_path / "uploads" / upload_id, database_url).run()
        return uploads.get(upload_id)

    return do


def put(uploads, filename, content):
    with uploads.arriving(filename) as arrival:
        arrival.path.write_text(content, encoding="utf-8")
        return uploads.end(arrival).upload_id


def test_a_preview_says_what_would_be_stored_and_stores_nothing(uploads, done, store):
    orders, items = put(uploads, "orders.csv", ORDERS), put(uploads, "things.csv", ITEMS)
    upload = done(orders, ReadUpload(items=items, options={**OPTIONS, "rating_column": "stars", "positive_rating": 2}))
    found = upload.preview
    assert (upload.state, upload.error) == ("previewed", None)
    assert (found.format, found.users, found.items, found.described) == ("csv", 5, 9, 9)
    kept = sum(1 for n in range(40) if n % 6 >= 2) + 1
    assert (found.interactions, found.numbered) == (kept, True)
    assert sum(found.left_out.values()) == 41 - kept
    first = found.first[0]
    assert (first.user_id, first.item_id, first.title, first.timestamp) == ("c2", "s2", "Thing 2", 2.0)
    assert (found.first_items[0].title, found.first_items[0].genres) == ("Thing 2", ("Tools", "Garden"))
    said = {one.text: one.warning for one in upload.remarks}
    assert said["orders.csv:1: read: users from 'customer', items from 'sku', ratings from 'stars'"] is False
    assert said["things.csv:1: read: ids from 'sku', title, genres, year, image_path"] is False
    assert said["orders.csv:1: passed over: 'price'"] is False
    assert any(warning and "no column 'timestamp'" in text for text, warning in said.items())
    assert store.datasets() == []


def test_an_import_says_what_it_has_done_and_removes_the_files(uploads, done, store, tmp_path):
    orders, items = put(uploads, "orders.csv", ORDERS), put(uploads, "things.csv", ITEMS)
    order = ImportUpload(dataset="shop", items=items, options=OPTIONS, repeats="offer")
    upload = done(orders, order)
    assert upload.state == "imported", upload.error
    assert (upload.imported.new_interactions, upload.imported.new_items) == (41, 9)
    row = store.dataset("shop")
    assert (row.source, row.interactions, row.repeats) == ("orders.csv, uploaded", 41, "offer")
    assert store.item("shop", "s3").title == "Thing 3"
    assert list((tmp_path / "uploads").glob("*/file/*")) == []
    assert [one.upload_id for one in uploads.all()] == [orders], "what described the items is used up"


def test_items_that_one_file_names_and_the_other_does_not_are_counted(uploads, done, store):
    log = ORDERS + "".join(f"c1,x{n},3,1\n" for n in range(6)) + "c1,x0,4,1\n"
    orders, items = put(uploads, "orders.csv", log), put(uploads, "things.csv", ITEMS.replace("Thing 3", "NULL"))
    found = done(orders, ReadUpload(items=items, options=OPTIONS)).preview
    assert found.without_title == SomeItems(count=7, first=("s3", "x0", "x1", "x2", "x3"))
    assert found.without_interactions == SomeItems(count=2, first=("s7", "s8"))
    store.write("shop", "before", InteractionColumns([], [], []), [ItemRow("x2", "Known before")])
    outcome = done(orders, ImportUpload(dataset="shop", items=items, options=OPTIONS)).imported
    assert outcome.without_title == SomeItems(count=6, first=("s3", "x0", "x1", "x3", "x4"))
    assert outcome.without_interactions == found.without_interactions
    again = done(put(uploads, "week.csv", ORDERS), ImportUpload(dataset="shop", options=OPTIONS)).imported
    assert (again.without_title.first, again.without_interactions) == (("s3",), SomeItems())


def test_what_is_told_is_short_however_long_a_file_s_texts_are(uploads, done, store, tmp_path):
    long = "T" * 100_000
    items = put(uploads, "things.csv", f"sku,title,genres\ns1,{long},{long}|Tools\n")
    orders = put(uploads, "orders.csv", ORDERS)
    assert done(orders, ReadUpload(items=items, options=OPTIONS)).state == "previewed"
    assert (tmp_path / "uploads" / orders / "state.json").stat().st_size < 10_000
    assert done(orders, ImportUpload(dataset="shop", items=items, options=OPTIONS)).state == "imported"
    stored = store.item("shop", "s1")
    assert (stored.title, stored.genres) == ("T" * 1000, ("T" * 200, "Tools"))
    columns = put(uploads, "columns.csv", "a,b\n" + ",".join(f"column {n} {long}" for n in range(100)) + "\n")
    error = done(columns, ReadUpload(options={"format": "csv", "user_column": long[:200]})).error
    assert "there is no column 'TTT" in error
    assert len(error) < 1100


def test_pictures_that_were_not_uploaded_leave_those_that_are_there(uploads, done, store, tmp_path):
    done(put(uploads, "orders.csv", ORDERS), ImportUpload(dataset="shop", options=OPTIONS))
    picture = tmp_path / "secret.png"
    picture.write_bytes(b"x")
    store.put_item("shop", store.item("shop", "s3").__class__("s3", "Three", image_path=str(picture)))
    items = "sku,title,image_path\n" + f"s3,Three,{picture.name}\n"
    other = put(uploads, "orders.csv", ORDERS)
    upload = done(other, ImportUpload(dataset="shop", items=put(uploads, "i.csv", items), options=OPTIONS))
    assert upload.state == "imported", upload.error
    assert store.item("shop", "s3").image_path == str(picture)


def test_what_is_available_of_items_that_deleted_users_alone_took_is_left_out(uploads, done, store):
    first = "user_id,item_id,timestamp\n" + "".join(f"u{n % 3},s{n},{n + 1e9}\n" for n in range(6)) + "gone,s1,1e9\n"
    assert done(put(uploads, "a.csv", first), ImportUpload(dataset="shop")).state == "imported"
    store.delete_user("shop", "gone")
    again = put(uploads, "a.csv", first + "gone,rare,1000000007\n")
    items = put(uploads, "items.csv", "item_id,available\ns1,no\nrare,no\n")
    upload = done(again, ImportUpload(dataset="shop", items=items))
    assert upload.state == "imported", upload.error
    assert store.hidden_of("shop", ["s1", "rare"]) == {"s1"}


def test_the_column_of_availability_may_be_named(uploads, done, store):
    orders, items = put(uploads, "orders.csv", ORDERS), put(uploads, "items.csv", "item_id,in_stock\ns1,no\ns2,yes\n")
    options = {**OPTIONS, "available_column": "in_stock"}
    assert done(orders, ImportUpload(dataset="shop", items=items, options=options)).state == "imported"
    assert store.hidden_of("shop", ["s1", "s2"]) == {"s1"}


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("user_id,item_id,timestamp\na,b,1\na,,2\n", {}, "orders.csv:3: there is no item_id"),
        (ORDERS, {}, "orders.csv:1: there is no column 'user_id'"),
        ("", {}, "orders.csv"),
        ("user_id,item_id\n", {}, "orders.csv"),
    ],
)
def test_what_is_wrong_names_file_and_line_and_no_folder(uploads, done, store, tmp_path, content, options, said):
    for order in (ReadUpload(options=options), ImportUpload(dataset="shop", options=options)):
        upload = done(put(uploads, "orders.csv", content), order)
        assert upload.state == "failed"
        assert said in upload.error
        assert str(tmp_path) not in upload.error
    assert store.datasets() == []


def test_a_name_that_is_none_is_said(uploads, done):
    upload = done(put(uploads, "orders.csv", ORDERS), ImportUpload(dataset=".hidden", options=OPTIONS))
    assert "'.hidden' cannot name a data set" in upload.error


def test_an_unforeseen_error_is_told_and_raised(uploads, done, monkeypatch):
    monkeypatch.setattr("fedmem.importing.task.read_dataset", lambda *_, **__: 1 / 0)
    upload_id = put(uploads, "orders.csv", ORDERS)
    with pytest.raises(ZeroDivisionError):
        done(upload_id, ReadUpload())
    assert "something went wrong here" in uploads.get(upload_id).error


def test_very_many_remarks_are_not_kept(uploads, done, monkeypatch):
    import logging

    def talk(*_, **__):
        for number in range(100):
            logging.getLogger("fedmem.data.formats").info("%d", number)
        raise ConfigError("enough")

    monkeypatch.setattr("fedmem.importing.task.read_dataset", talk)
    assert len(done(put(uploads, "orders.csv", ORDERS), ReadUpload()).remarks) == MOST_REMARKS


def test_progress_is_told(uploads, done, monkeypatch):
    told = []
    monkeypatch.setattr(
        "fedmem.importing.task.write_state",
        lambda folder, upload: (told.append((upload.stage, upload.done, upload.total)), write_state(folder, upload)),
    )
    done(put(uploads, "orders.csv", ORDERS), ImportUpload(dataset="shop", options=OPTIONS))
    assert ("interactions", 41, 41) in told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"user_colum": "x"}, "options.user_colum: there is no such option; there are: format, skip_bad_rows"),
        ({"skip_bad_rows": "many"}, "options.skip_bad_rows = 'many': Input should be a valid integer"),
        ({"skip_bad_rows": -1}, "skip_bad_rows = -1 must be 0 or more"),
        ({"rating_column": "stars"}, "say from which rating on"),
    ],
)
def test_wrong_options_are_named(options, said):
    with pytest.raises(ConfigError) as error:
        checked_options(options)
    assert said in str(error.value)
    checked_options({"positive_rating": 4, "format": "csv"})


def test_what_is_wrong_names_options_as_a_request_has_them(uploads, done):
    broken = put(uploads, "orders.csv", ORDERS + "c1,s1\n")
    said = done(broken, ReadUpload(options=OPTIONS)).error
    assert "leave bad rows out with skip_bad_rows N" in said


def test_an_order_is_what_was_asked(uploads, tmp_path):
    upload_id = put(uploads, "orders.csv", ORDERS)
    uploads.start(upload_id, ReadUpload(options=OPTIONS))
    assert json.loads((tmp_path / "uploads" / upload_id / ORDER).read_text(encoding="utf-8"))["options"] == OPTIONS
