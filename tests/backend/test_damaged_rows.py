"""Damaged rows of the database: each is shown as far as it is whole, all others as ever, and the log says it once."""

import sqlite3
import time
from contextlib import closing

import pytest
from sqlalchemy import Double

from backend.damaged_rows import warn_once
from fedmem.storage.ab_tests import AbTestStore
from fedmem.storage.engine import connect
from fedmem.storage.impressions import ImpressionStore, ShownList
from fedmem.storage.jobs import JobStore
from fedmem.storage.schema import metadata
from fedmem.storage.stored_interactions import _warn_once
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
OWN_TESTS = {"jobs", "items", "spendings"}
OF_ONE_USER = [
    "UPDATE interactions SET timestamp = 'then' WHERE id = {id}",
    "UPDATE interactions SET timestamp = -9e999 WHERE id = {id}",
    "UPDATE interactions SET item_id = x'ff' WHERE id = {id}",
    "UPDATE interactions SET user_id = x'ff' WHERE id = {id}",
    "UPDATE impressions SET shown_at = 'then' WHERE position = 1",
    "UPDATE impressions SET shown_at = 1e300 WHERE position = 1",
    "UPDATE impressions SET clicked_at = 'then', taken_at = x'ff', worth = 'much' WHERE position = 1",
    "UPDATE impressions SET worth = 9e999, item_id = x'ff' WHERE position = 1",
    "UPDATE impressions SET version = x'ff', strategy = x'ff', recommendation_id = x'ff' WHERE position = 1",
]
NEVER_SHOWN = {"hidden_items", "deletions", "removed_jobs"}  # their times, that is


@pytest.mark.parametrize(("damage", "listed", "says"), DAMAGES)
def test_one_damaged_row_harms_no_other(served, served_world, caplog, damage, listed, says):
    another_model(served_world, activate=True)
    trainers(served_world)
    for cron in ("0 3 * * *", "0 4 * * *"):
        served.post("/schedules", json={"dataset": "tiny", "cron": cron}).raise_for_status()
    two_tests(served_world)
    served.app.state.services.keeper.look()  # else the model in service could change between two readings
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
    of_one_user = {damage.split()[1] for damage in OF_ONE_USER}
    assert numbered == damaged | OWN_TESTS | of_one_user | NEVER_SHOWN


@pytest.mark.parametrize("damage", OF_ONE_USER)
def test_a_damaged_row_of_a_user_harms_that_row_alone(served, served_world, caplog, damage):
    warn_once.cache_clear()
    _warn_once.cache_clear()
    answers(served_world)
    before = served.get("/users/u01/history?dataset=tiny").raise_for_status().json()
    with closing(sqlite3.connect(served_world.database)) as connection, connection:
        (row,) = connection.execute("SELECT min(id) FROM interactions WHERE user_id = 'u01'").fetchone()
        assert connection.execute(damage.format(id=row)).rowcount == 1
    events = [{"user_id": user, "item_id": "1", "timestamp": time.time()} for user in ("u01", "u02")]
    fed = served.post("/feedback", json={"events": events})
    assert fed.json()["accepted"] == 2
    after = served.get("/users/u01/history?dataset=tiny").raise_for_status().json()
    left_out = int("UPDATE impressions" in damage)
    assert len(after["interactions"]) == len(before["interactions"]) + left_out
    assert len(after["impressions"]) == len(before["impressions"]) - left_out
    of_no_user = "user_id" in damage  # which an answer that is asked for by user does not meet
    assert sum("damaged" in record.getMessage() for record in caplog.records) == 1 - of_no_user
    served.app.state.services.keeper.look()
    for path in ("/users", "/datasets", "/evaluation/online", "/recommend/u01", "/recommend/u02", "/users/u02/history"):
        assert served.get(path, params={"dataset": "tiny"} if path != "/datasets" else None).status_code == 200
    assert served.delete("/users/u01", params={"dataset": "tiny"}).status_code == 204


def test_metrics_that_are_numbers_are_still_shown(served, served_world):
    with closing(sqlite3.connect(served_world.database)) as connection, connection:
        connection.execute("UPDATE metrics SET value = 'much' WHERE round = 2 AND name = 'prototype_collapse'")
    assert rows(served, "rounds")[1]["metrics"]["train"] == {"recommendation_loss": 0.5}


def test_what_nothing_mends_is_left_out(served, served_world):
    whole = rows(served, "rounds")
    with closing(sqlite3.connect(served_world.database)) as connection, connection:
        connection.execute("UPDATE rounds SET round = 'last' WHERE job_id = 1 AND round = 6")
    assert [row["round"] for row in rows(served, "rounds")] == [row["round"] for row in whole if row["round"] != 6]


def answers(world: World) -> None:
    """Let two items have been shown to a user."""
    engine = connect(world.url)
    shown = ShownList("tiny", "answer", "u01", "job-1-round-2", "model", time.time(), 1, ("1", "2"))
    ImpressionStore(engine).add([shown])
    engine.dispose()


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
