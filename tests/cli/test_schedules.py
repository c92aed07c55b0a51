"""``fedmem schedules``: the schedules of a database on the command line."""

import json
from collections.abc import Iterator

import pytest

from backend.damaged_rows import warn_once
from fedmem.storage.engine import writing
from tests.end_to_end.products import Product


@pytest.fixture
def product(tmp_path, database_url) -> Iterator[Product]:
    product = Product.made(tmp_path, database_url)
    yield product
    product.engine.dispose()


@pytest.fixture
def damage(product):
    """Change rows as only SQLite lets one: it keeps any value in any column."""
    if not product.url.startswith("sqlite"):
        pytest.skip("PostgreSQL keeps no value that is not of the column's kind")

    def change(statement: str) -> None:
        with writing(product.engine) as connection:
            connection.exec_driver_sql(statement)

    return change


def test_an_empty_database_says_how_to_begin(fedmem, product):
    outcome = fedmem("schedules", "list", "--database-url", product.url)
    assert outcome.code == 0
    assert "fedmem schedules add" in outcome.err


def test_one_is_added_changed_paused_run_and_removed(fedmem, product, config):
    url = ("--database-url", product.url)
    when = ("--cron", "30 4 * * *", "--timezone", "Asia/Tokyo")
    added = fedmem("schedules", "add", "--dataset", "tiny", *when, "--config", config, *url)
    assert added.code == 0, added.err
    number = added.out.strip()
    assert "04:30 JST next" in added.err
    assert "is paused" in fedmem("schedules", "pause", number, *url).err
    assert "paused" in fedmem("schedules", "list", *url).out
    assert "04:30 JST" in fedmem("schedules", "resume", number, *url).err
    assert "03:00 JST" in fedmem("schedules", "change", number, "--cron", "0 3 * * *", "--rounds", "7", *url).err
    job = fedmem("schedules", "run", number, *url).out.strip()
    assert product.jobs.get(int(job)).num_rounds == 6
    (shown,) = json.loads(fedmem("schedules", "list", "--json", *url).out)
    assert (shown["cron"], shown["rounds"], shown["last_job"], shown["last_job_state"]) == (
        "0 3 * * *",
        7,
        int(job),
        "queued",
    )
    assert shown["trouble"] is None
    refused = fedmem("schedules", "run", number, *url)
    assert refused.code == 2
    assert "never two at a time" in refused.err
    assert "is removed" in fedmem("schedules", "remove", number, *url).err
    assert json.loads(fedmem("schedules", "list", "--json", *url).out) == []


def test_a_first_job_has_the_installations_settings(fedmem, product, monkeypatch, tmp_path):
    (tmp_path / "jobs.yaml").write_text("federated: {num_rounds: 7}\n")
    monkeypatch.setenv("FEDMEM_JOB_CONFIG", str(tmp_path / "jobs.yaml"))
    url = ("--database-url", product.url)
    number = fedmem("schedules", "add", "--dataset", "tiny", "--cron", "0 3 * * *", *url).out.strip()
    job = fedmem("schedules", "run", number, *url).out.strip()
    assert product.jobs.get(int(job)).num_rounds == 7


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--cron", "0 3 * *"), "has 4 fields"),
        (("--cron", "0 3 * * *", "--timezone", "Mars"), "there is no time zone 'Mars'"),
        (("--cron", "0 3 * * *", "--rounds", "0"), "0 is not in the range"),
        (("--cron", "0 3 * * *", "--set", "privacy.weights_epsilon=8"), "privacy.weights_epsilon = 8.0 was spent"),
        (("--cron", "0 3 * * *", "--set", "secure_sums={enabled: true, threshold: .5}"), "secure_sums.threshold = 0.5"),
    ],
)
def test_what_is_wrong_is_one_clear_error(fedmem, product, given, words):
    outcome = fedmem("schedules", "add", "--dataset", "tiny", *given, "--database-url", product.url)
    assert outcome.code == 2
    assert words in outcome.err
    assert "there is no schedule 9" in fedmem("schedules", "remove", 9, "--database-url", product.url).err


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("rounds = 'many', next_at = 'soon'", "the row of schedule 1 in the database is damaged"),
        ("cron = x'ff'", "the row of schedule 1 in the database is damaged"),
        ("timezone = 'Mars'", ""),
    ],
)
def test_a_damaged_row_is_said_and_spoils_no_list(fedmem, product, damage, values, said):
    url = ("--database-url", product.url)
    for hour in (3, 4):
        assert fedmem("schedules", "add", "--dataset", "tiny", "--cron", f"0 {hour} * * *", *url).code == 0
    damage(f"UPDATE schedules SET {values} WHERE id = 1")
    warn_once.cache_clear()
    shown = fedmem("schedules", "list", *url)
    assert (shown.code, "0 4 * * *" in shown.out, said in shown.err) == (0, True, True), shown.err
    assert [row["id"] for row in json.loads(fedmem("schedules", "list", "--json", *url).out)] == [1, 2]


def test_a_damaged_data_set_is_said_and_spoils_no_list(fedmem, product, damage, caplog):
    url = ("--database-url", product.url)
    product.write("books", "b", "Book")
    damage("UPDATE datasets SET source = x'ff', imported_at = 'then' WHERE name = 'books'")
    warn_once.cache_clear()
    caplog.clear()
    shown = fedmem("data", "list", *url)
    assert (shown.code, "tiny" in shown.out, "books" in shown.out) == (0, True, True), shown.err
    (said,) = caplog.messages  # which Python writes to stderr where nothing else takes it
    assert said.startswith("the row of data set books in the database is damaged: restore it from a backup. It cannot")
    assert [row["users"] for row in json.loads(fedmem("data", "list", "--json", *url).out)] == [12, 12]
