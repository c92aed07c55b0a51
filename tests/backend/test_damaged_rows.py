"""Damaged rows of the database: each is shown as far as it is whole, all others as ever, and the log says it once."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import Double

from backend.damaged_rows import warn_once
from fedmem.storage.ab_tests import AbTestStore
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore
from fedmem.storage.schema import metadata
from tests.backend.conftest import World
from tests.backend.test_models import another_model

LISTS = {
    "models": "/models",
    "activations": "/models/history",
    "trainers": "/trainers",
    "rounds": "/jobs/1/metrics",
    "lines": "/jobs/1/logs",
    "schedules": "/schedules",
    "tests": "/ab-tests",
    "datasets": "/datasets",
}


DAMAGES = [
    ("UPDATE models SET created_at = 1e300 WHERE job_id = 1", "models", "refused"),
    ("UPDATE models SET created_at = 'then' WHERE job_id = 1", "models", "refused"),
    ("UPDATE activations SET activated_at = 1e300 WHERE id = 1", "activations", "reason"),
    ("UPDATE activations SET activated_at = 'then' WHERE id = 1", "activations", "reason"),
    ("UPDATE trainers SET seen_at = 1e300 WHERE worker = 'one'", "trainers", None),
    ("UPDATE trainers SET seen_at = 'then', started_at = 'x' WHERE worker = 'one'", "trainers", None),
    ("UPDATE rounds SET finished_at = 1e300 WHERE round = 2", "rounds", None),
    ("UPDATE metrics SET value = 'much' WHERE round = 2 AND name = 'prototype_collapse'", "rounds", None),
    ("UPDATE logs SET time = 'then' WHERE id = 1", "lines", "message"),
    ("UPDATE logs SET level = 'LOUD', time = 1e300 WHERE id = 1", "lines", "message"),
    ("UPDATE ab_tests SET share = 'half' WHERE id = 1", "tests", "verdict"),
    ("UPDATE ab_tests SET started_at = 'then' WHERE id = 1", "tests", "verdict"),
    ("UPDATE ab_tests SET started_at = 1e300, ended_at = 'now' WHERE id = 1", "tests", "verdict"),
    ("UPDATE ab_tests SET control = x'ff' WHERE id = 1", "tests", "verdict"),
    ("UPDATE datasets SET imported_at = 'then' WHERE name = 'tiny'", "datasets", None),
    ("UPDATE datasets SET imported_at = 1e300 WHERE name = 'tiny'", "datasets", None),
    ("UPDATE datasets SET source = x'ff' WHERE name = 'tiny'", "datasets", None),
    ("UPDATE schedules SET next_at = 'soon' WHERE id = 1", "schedules", "trouble"),
    ("UPDATE schedules SET last_at = 1e300, rounds = 'many' WHERE id = 1", "schedules", "trouble"),
    ("UPDATE schedules SET cron = x'ff', promotion = 'x' WHERE id = 1", "schedules", "trouble"),
]
OWN_TESTS = {"jobs", "items"}
OF_ONE_USER = {"interactions", "impressions"}
NEVER_SHOWN = {"hidden_items", "deletions", "removed_jobs"}  # their times, that is


@pytest.mark.parametrize(("damage", "listed", "says"), DAMAGES)
def test_one_damaged_row_harms_no_other(served, served_world, caplog, damage, listed, says):
    another_model(served_world, activate=True)
    trainers(served_world)
    for cron in ("0 3 * * *", "0 4 * * *"):
        served.post("/schedules", json={"dataset": "tiny", "cron": cron}).raise_for_status()
    two_tests(served_world)
    whole = rows(served, listed)
    with closing(sqlite3.connect(served_world.database)) as connection, connection:
        assert connection.execute(damage).rowcount >= 1
    warn_once.cache_clear()
    found = [rows(served, listed) for _ in range(2)][-1]
    changed = [(row, before) for row, before in zip(in_order(found), in_order(whole), strict=True) if row != before]
    assert len(changed) == 1
    assert says is None or "is damaged: restore it from a backup" in changed[0][0][says]
    assert sum("is damaged" in record.getMessage() for record in caplog.records) == 1
    assert {served.get(path).status_code for path in ("/jobs/1/events", "/schedules/1")} == {200}


def test_every_table_with_times_or_other_numbers_is_damaged_here():
    numbered = {
        table.name for table in metadata.tables.values() for column in table.c if isinstance(column.type, Double)
    }
    damaged = {damage.split()[1] for damage, _, _ in DAMAGES}
    assert numbered == damaged | OWN_TESTS | OF_ONE_USER | NEVER_SHOWN


def test_metrics_that_are_numbers_are_still_shown(served, served_world):
    with closing(sqlite3.connect(served_world.database)) as connection, connection:
        connection.execute("UPDATE metrics SET value = 'much' WHERE round = 2 AND name = 'prototype_collapse'")
    assert rows(served, "rounds")[1]["metrics"]["train"] == {"recommendation_loss": 0.5}


def test_what_nothing_mends_is_left_out(served, served_world):
    whole = rows(served, "rounds")
    with closing(sqlite3.connect(served_world.database)) as connection, connection:
        connection.execute("UPDATE rounds SET round = 'last' WHERE job_id = 1 AND round = 6")
    assert [row["round"] for row in rows(served, "rounds")] == [row["round"] for row in whole if row["round"] != 6]


def trainers(world: World) -> None:
    """Let two be seen."""
    engine = connect(world.url)
    for worker in ("one", "two"):
        JobStore(engine).seen(worker, None)
    engine.dispose()


def two_tests(world: World) -> None:
    """Let one A/B test have ended, and another too."""
    engine = connect(world.url)
    tests, treatment = AbTestStore(engine), another_model(world, activate=False)
    for _ in range(2):
        tests.stop(tests.start(treatment, 0.5).id, "the test")
    engine.dispose()


def rows(client, listed: str) -> list[dict]:
    return client.get(LISTS[listed]).raise_for_status().json()[listed]


def in_order(listed: list[dict]) -> list[dict]:
    """By what does not change with the damage: trainers and models are listed by time."""
    return sorted(listed, key=lambda row: str(row.get("worker") or row.get("version") or ""))
