"""``fedmem data import`` and ``fedmem db``, by what they print and what is in the database after them."""

import io
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import migrations
from cli.removing import megabytes
from fedmem.importing.writing import merged
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ItemRow
from fedmem.storage.database_size import database_size
from fedmem.storage.engine import connect
from tests.cli.conftest import write_data
from tests.waiting import PATIENCE


@pytest.fixture
def new_url(tmp_path: Path) -> str:
    """A file that is not there, in a folder that is not."""
    return f"sqlite:///{tmp_path}/made/fedmem.db"


@pytest.fixture(params=["new_url", "postgresql_migrated_url"])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


@pytest.fixture
def store(url: str) -> Iterator[CatalogueStore]:
    engine = connect(url)
    yield CatalogueStore(engine)
    engine.dispose()


@pytest.fixture
def imported(fedmem, data, url):
    """Import with ``--json``."""

    def call(*options: object) -> dict:
        outcome = fedmem("data", "import", *options, "--database-url", url, "--json")
        assert outcome.code == 0, outcome.err
        return json.loads(outcome.out)

    return call


def listed(fedmem, url: str) -> list[dict]:
    outcome = fedmem("data", "list", "--database-url", url, "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_one_command_takes_a_newcomer_from_files_to_the_database(fedmem, data, new_url):
    outcome = fedmem("data", "import", data, "--database-url", new_url)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("films: 267 new interactions, 0 kept; 30 new items, 0 changed, 0 kept; in ")
    assert f"the database {new_url} was empty: its tables were made" in outcome.err
    assert "it holds 12 users, 30 items, 267 interactions" in outcome.err
    (row,) = listed(fedmem, new_url)
    assert (row["name"], row["source"], row["users"], row["items"]) == ("films", str(data), 12, 30)
    table = fedmem("data", "list", "--database-url", new_url)
    assert "films" in table.out


def test_importing_again_says_what_was_there(fedmem, imported, url, store, tmp_path):
    folder = write_data(tmp_path / "films")
    assert imported(folder)["new_interactions"] == 267
    items = folder / "items.csv"
    items.write_text(items.read_text(encoding="utf-8").replace("Film 7,", "Film seven,"), encoding="utf-8")
    again = imported(folder)
    assert (again["new_interactions"], again["known_interactions"]) == (0, 267)
    assert (again["new_items"], again["changed_items"], again["kept_items"]) == (0, 1, 29)
    assert store.item("films", "m07").title == "[rec] :cat: Film seven"
    outcome = fedmem("data", "import", folder, "--database-url", url)
    assert "films: 0 new interactions, 267 kept; 0 new items, 0 changed, 30 kept; in" in outcome.out
    assert "was empty" not in outcome.err


def test_an_item_that_is_listed_by_its_id_alone_is_kept(imported, tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id\nu1,a\nu1,b\nu2,a\n")
    (tmp_path / "items.jsonl").write_text('{"item_id": "a", "title": "A"}\n{"item_id": "z"}\n')
    given = (tmp_path / "log.csv", "--items", tmp_path / "items.jsonl", "--name", "listed")
    assert (imported(*given)["new_items"], imported(*given)["kept_items"]) == (3, 3)


def test_items_that_one_file_names_and_the_other_does_not_are_told(fedmem, imported, url, tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id\nu1,a\nu1,007\nu2,a\n")
    (tmp_path / "items.csv").write_text("item_id,title\n[red],R\n7,Seven\na,A\n")
    given = (tmp_path / "log.csv", "--items", tmp_path / "items.csv", "--name", "two")
    said = fedmem("data", "import", *given, "--database-url", url).err
    assert "no title is known of 1 item of the interactions ('007'): an items file gives titles (--items)" in said
    assert "in none of these interactions: 2 items of the items file ('[red]', '7')" in said
    record = imported(*given)
    assert record["without_title"] == {"count": 1, "first": ["007"]}
    assert record["without_interactions"] == {"count": 2, "first": ["[red]", "7"]}
    (tmp_path / "items.csv").write_text("item_id,title\n007,Seven\na,A\n")
    said = fedmem("data", "import", *given, "--database-url", url).err
    assert "no title" not in said
    assert "in none" not in said


def test_the_options_of_reading_are_those_of_train(fedmem, imported, url, store, tmp_path):
    rows = "who,what,when\n" + "".join(f"u{n % 3},m{n % 5},{n}\n" for n in range(20)) + "broken\n"
    (tmp_path / "mine.csv").write_text(rows, encoding="utf-8")
    (tmp_path / "films.csv").write_text("item_id,title,shown\nm1,One,no\n", encoding="utf-8")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "m2.png").touch()
    columns = ("--user-column", "who", "--item-column", "what", "--timestamp-column", "when", "--format", "csv")
    files = ("--items", tmp_path / "films.csv", "--images", tmp_path / "pictures", "--available-column", "shown")
    record = imported(tmp_path / "mine.csv", *columns, *files, "--skip-bad-rows", 1, "--name", "mine")
    assert (record["name"], record["new_interactions"], record["rows_skipped"]) == ("mine", 20, 1)
    assert store.item("mine", "m1").title == "One"
    assert store.hidden_of("mine", ["m0", "m1"]) == {"m1"}
    assert store.item("mine", "m2").image_path == str(tmp_path / "pictures" / "m2.png")


def test_a_picture_has_an_absolute_path(imported, url, store, tmp_path, monkeypatch):
    write_data(tmp_path / "films")
    (tmp_path / "covers").mkdir()
    (tmp_path / "covers" / "m01.jpg").touch()
    monkeypatch.chdir(tmp_path)
    imported("films", "--images", "covers")
    assert store.item("films", "m01").image_path == str(tmp_path / "covers" / "m01.jpg")


def test_a_broken_file_leaves_nothing(fedmem, imported, url, tmp_path):
    folder = write_data(tmp_path / "films")
    whole = (folder / "interactions.csv").read_text(encoding="utf-8")
    (folder / "interactions.csv").write_text(whole + "u99,m01,never\n", encoding="utf-8")
    outcome = fedmem("data", "import", folder, "--database-url", url)
    assert (outcome.code, outcome.out) == (2, "")
    assert "interactions.csv:269: the timestamp 'never'" in outcome.err
    assert not (tmp_path / "made").exists()
    (folder / "interactions.csv").write_text(whole, encoding="utf-8")
    imported(folder)
    before = listed(fedmem, url)
    (folder / "interactions.csv").write_text(whole + "u99,m01,never\n", encoding="utf-8")
    assert fedmem("data", "import", folder, "--database-url", url).code == 2
    assert listed(fedmem, url) == before


def test_a_file_without_times_that_was_changed_inside_is_refused(fedmem, imported, url, tmp_path):
    path = tmp_path / "plain.csv"
    rows = [f"u{n % 3},m{n % 5}" for n in range(20)]

    def write(lines: list[str]) -> None:
        path.write_text("\n".join(["user_id,item_id", *lines]) + "\n", encoding="utf-8")

    write(rows)
    assert imported(path)["new_interactions"] == 20
    write([*rows, "u0,m4"])
    assert imported(path)["new_interactions"] == 1
    write(["u1,m4", *rows])
    outcome = fedmem("data", "import", path, "--database-url", url)
    assert outcome.code == 2
    assert "has no times, so that its rows are told apart by their place" in outcome.err
    assert listed(fedmem, url)[0]["interactions"] == 21


def test_a_counter_in_the_column_of_times_is_no_row_number(fedmem, imported, url, tmp_path):
    """It counts 0, 1, 2 as row numbers do, but it is the file's own: a row may be corrected."""
    rows = [f"u{n // 6},i{n % 7},{n}" for n in range(18)]

    def file(lines: list[str]) -> Path:
        path = tmp_path / "steps.csv"
        path.write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n", encoding="utf-8")
        return path

    assert imported(file(rows))["new_interactions"] == 18
    again = imported(file([rows[0], "u0,i6,1", *rows[2:]]))
    assert (again["new_interactions"], again["known_interactions"]) == (1, 17)


def test_the_database_is_that_of_the_environment(fedmem, data, url, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", url)
    assert fedmem("data", "import", data, "--name", "here").code == 0
    assert [row["name"] for row in json.loads(fedmem("data", "list", "--json").out)] == ["here"]


def test_the_database_is_a_file_of_the_folder_by_default(fedmem, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert fedmem("data", "import", data).code == 0
    assert (tmp_path / "runs" / "fedmem.db").is_file()


def test_import_on_postgresql(fedmem, data, postgresql_url):
    outcome = fedmem("data", "import", data, "--database-url", postgresql_url)
    assert outcome.code == 0, outcome.err
    assert listed(fedmem, postgresql_url)[0]["interactions"] == 267


def test_a_password_is_not_printed(fedmem, data):
    outcome = fedmem("data", "import", data, "--database-url", "postgresql://me:s3cret@127.0.0.1:1/none")
    assert outcome.code == 2
    assert "cannot be reached" in outcome.err
    assert "s3cret" not in outcome.err + outcome.out


def test_a_data_set_is_removed_once_that_is_confirmed(fedmem, imported, data, url, store, monkeypatch):
    imported(data)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    asked = fedmem("data", "remove", "films", "--database-url", url)
    assert (asked.code, "Remove films for good?" in asked.err) == (1, True)
    assert [row["name"] for row in listed(fedmem, url)] == ["films"]
    before = megabytes(database_size(store.engine))
    done = fedmem("data", "remove", "films", "--yes", "--database-url", url)
    assert (done.code, listed(fedmem, url)) == (0, [])
    assert f"the database of all data sets takes {before}\n" in done.err
    assert f"the database takes {megabytes(database_size(store.engine))} now\n" in done.err
    outcome = fedmem("data", "remove", "films", "--database-url", url)
    assert outcome.code == 2
    assert "there is no data set 'films'; there are none yet. fedmem data import brings one in" in outcome.err
    assert "no data set yet; import one" in fedmem("data", "list", "--database-url", url).err


def test_a_name_that_is_none(fedmem, data, url):
    outcome = fedmem("data", "import", data, "--name", " ", "--database-url", url)
    assert outcome.code == 2
    assert "' ' cannot name a data set" in outcome.err


# --- db


def test_the_tables_of_a_database(fedmem, new_url):
    outcome = fedmem("db", "current", "--database-url", new_url)
    assert (outcome.code, outcome.out) == (0, "none\n")
    assert f"the newest is {migrations.head()}; run: fedmem db upgrade" in outcome.err
    refused = fedmem("data", "list", "--database-url", new_url)
    assert refused.code == 2
    assert "run: fedmem db upgrade" in refused.err
    assert "its tables were made" in fedmem("db", "upgrade", "--database-url", new_url).err
    assert fedmem("db", "current", "--database-url", new_url).out == f"{migrations.head()}\n"
    assert "nothing to do" in fedmem("db", "upgrade", "--database-url", new_url).err


def test_import_leaves_a_newer_database_alone(fedmem, data, new_url, tmp_path):
    fedmem("db", "upgrade", "--database-url", new_url)
    with sqlite3.connect(tmp_path / "made" / "fedmem.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    outcome = fedmem("data", "import", data, "--database-url", new_url)
    assert outcome.code == 2
    assert "cannot be migrated" in outcome.err


# --- Ctrl-C

# The command, but for its progress: that says when the first rows of the transaction are written, and goes no further.
HELD = """
import contextlib, signal
import cli, cli.importing

@contextlib.contextmanager
def stages():
    def advance(stage, done, total):
        if stage == "interactions" and done < total:
            print("writing", flush=True)
            signal.pause()
    yield advance

cli.importing.stages = stages
cli.main()
"""


def test_ctrl_c_in_the_middle_leaves_nothing(fedmem, imported, data, url, tmp_path):
    imported(data)
    before = listed(fedmem, url)
    large = tmp_path / "large.csv"
    lines = (f"user {n % 7919},item {n % 97},{n}\n" for n in range(60_000))
    large.write_text("user_id,item_id,timestamp\n" + "".join(lines), encoding="utf-8")
    command = [sys.executable, "-c", HELD, "data", "import", str(large), "--database-url", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "writing\n", running.communicate()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=PATIENCE)
    assert (running.returncode, out) == (130, "")
    assert "interrupted: nothing was stored in large" in err
    assert "Traceback" not in err
    assert listed(fedmem, url) == before


# --- what an import says of what is there already

STORED = ItemRow(
    "7", "Heat (1995)", ("Action",), 1995, "/covers/7.jpg", "Heat (1995). Action. A thief.", tags=("heist",)
)


@pytest.mark.parametrize(
    ("said", "columns", "becomes"),
    [
        (ItemRow("7"), "", STORED),
        (ItemRow("7"), "title genres year text image_path tags", ItemRow("7")),
        (ItemRow("7", "Heat", text="Heat"), "title",
         ItemRow("7", "Heat", ("Action",), 1995, "/covers/7.jpg", "Heat (1995). Action. A thief.",
                 tags=("heist",))),
        (ItemRow("7", "Warm", text="Warm"), "title genres",
         ItemRow("7", "Warm", (), 1995, "/covers/7.jpg", "Warm (1995). A thief.", tags=("heist",))),
        (ItemRow("7", text="A cop."), "text", replace(STORED, text="Heat (1995). Action. A cop.")),
        (ItemRow("7", tags=("old",)), "tags", replace(STORED, tags=("old",))),
        (ItemRow("7", image_path="/new.jpg"), "image_path", replace(STORED, image_path="/new.jpg")),
        (ItemRow("7", "unknown", ("Drama",), None, None, "Drama"), "title genres year text",
         ItemRow("7", "unknown", ("Drama",), None, "/covers/7.jpg", "Drama", tags=("heist",))),
    ],
    ids=["nothing", "empty cells", "title", "title, no genres", "text", "tags", "picture", "a title that says nothing"],
)  # fmt: skip
def test_what_the_columns_say_is_put_into_what_is_known(said, columns, becomes):
    assert merged(STORED, replace(said, described=frozenset(columns.split()))) == becomes


@pytest.mark.parametrize(("file", "name"), [("web.csv", "web"), ("web.2026.csv", "web"), ("shop 7.tsv", "shop 7")])
def test_a_file_names_its_data_set_as_the_dashboard_proposes(fedmem, imported, tmp_path, url, file, name):
    (tmp_path / file).write_text("user_id,item_id\na,1\nb,2\n".replace(",", "\t" if file.endswith("tsv") else ","))
    imported(tmp_path / file)
    assert [row["name"] for row in listed(fedmem, url)] == [name]


def test_a_data_set_has_a_setting_and_an_import_says_what_it_left_out(fedmem, imported, data, url, store):
    assert imported(data)["repeats"] is None
    assert imported(data, "--repeats", "offer")["repeats"] == "offer"
    store.put_item("films", ItemRow("m07", "By hand"))
    removed = store.delete_user("films", "u00").interactions
    again = imported(data)
    assert (again["repeats"], again["edits_kept"], again["kept_items"]) == ("offer", 1, 30)
    assert (again["new_interactions"], again["deleted_interactions"]) == (0, removed)
    assert again["left_out"] == {"of users who were deleted since": removed}
    outcome = fedmem("data", "import", data, "--database-url", url)
    assert f"rows left out: {removed} of users who were deleted since" in outcome.err
    assert "edits by PUT /items stay where this file says otherwise: 1 item (--overwrite-edits" in outcome.err
    assert imported(data, "--overwrite-edits")["changed_items"] == 1
