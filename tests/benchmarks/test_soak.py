"""The soak's own parts: what it holds back comes in, what goes wrong is counted, what grows is told."""

import json
import os
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks.load_generator import Load, Request
from benchmarks.product import Product
from benchmarks.soak import growth, parted, record_of, row_of
from benchmarks.soak_work import Work
from benchmarks.watch import Watch, memory_mib
from fedmem.data.interactions import Interactions

MIB = 2**20


@pytest.fixture
def watch(tmp_path, monkeypatch) -> Watch:
    (tmp_path / "data" / "logs").mkdir(parents=True)
    made = Watch(Product(tmp_path, 1), tmp_path / "cache")
    monkeypatch.setattr(Watch, "sample", lambda self: None)
    return made


def answered(monkeypatch, answer) -> Work:
    client = httpx.Client(base_url="http://product", transport=httpx.MockTransport(answer))
    monkeypatch.setattr(Product, "client", property(lambda product: client))
    monkeypatch.setattr("benchmarks.soak_work.LOOK", 0.001)
    return Work(Product(Path(), 1), [{"user_id": "u", "item_id": str(n), "timestamp": n} for n in range(9)], 0.003)


def test_the_newest_interactions_are_held_back_and_none_is_lost():
    times = np.random.default_rng(0).permutation(100)
    names = np.array([str(time) for time in times], object)
    before, events = parted(Interactions(names, names, times))
    assert sorted(before.timestamps.tolist()) == list(range(95))
    assert [event["timestamp"] for event in events] == [95, 96, 97, 98, 99]
    assert json.loads(json.dumps(events))[0] == {"user_id": "95", "item_id": "95", "timestamp": 95}


def test_all_that_was_held_back_is_told_once(monkeypatch):
    told = []

    def answer(request: httpx.Request) -> httpx.Response:
        told.extend(json.loads(request.content)["events"])
        return httpx.Response(200)

    work = answered(monkeypatch, answer)
    work.feedback()
    assert told == list(work.events)
    assert (work.done, work.wrong) == ({"interactions": 9}, {})


def test_events_that_were_not_taken_and_nights_that_failed_are_counted(monkeypatch):
    def answer(request: httpx.Request) -> httpx.Response:
        work.ending.set()
        night = {"id": 2, "state": "failed", "message": "no room", "model_version": None, "round": 3}
        return (
            httpx.Response(207, text="one of them")
            if request.url.path == "/feedback"
            else httpx.Response(200, json=night)
        )

    work = answered(monkeypatch, answer)
    with work.made.client as client:
        work._tell(client, "clicks", work.events)
        monkeypatch.setattr(work.ending, "wait", lambda seconds: False)
        work._await_morning(client)
    assert (work.done, work.wrong.total()) == ({"nights": 1}, 2)
    assert {reason.partition(":")[0] for reason in work.wrong} == {"clicks", "job 0"}


def test_a_click_is_on_an_answer_that_has_a_name():
    work = Work(Product(Path(), 1), [], 1)
    item = {"items": [{"item_id": "i"}], "user_id": "u"}
    work.hear(Request("GET", "/recommend/u?k=10"), json.dumps(item | {"recommendation_id": "a"}).encode())
    work.hear(Request("GET", "/recommend/u?k=10"), json.dumps(item | {"recommendation_id": "b", "items": []}).encode())
    work.hear(Request("POST", "/recommend"), b"not read")
    assert list(work._answers) == [("a", "u", "i")]


def test_error_lines_are_found_once_in_either_form_of_log(watch):
    (watch.made.data_dir / "logs" / "backend.log").write_text(
        '{"time": "1", "level": "ERROR", "message": "broken"}\n{"time": "1", "level": "INFO", "message": "ERROR"}\n'
    )
    (watch.made.data_dir / "logs" / "trainer.log.1").write_text(
        "2026-11-27 19:51:43,760 ERROR gone\n2026 x INFO fine\n"
    )
    assert {line.partition(":")[0] for line in watch.new_errors()} == {"backend", "trainer"}
    assert not watch.new_errors()


def test_a_service_that_came_back_is_an_error_and_one_that_stayed_is_none(watch):
    watch.processes |= {"backend": {7}, "trainer": {8, 9}}
    assert watch.restarts() == {"trainer was started again": 1}


def test_disks_are_measured_apart(watch):
    (watch.made.folder / "fedmem.db").write_bytes(bytes(MIB))
    (watch.made.folder / "fedmem.db-wal").write_bytes(bytes(MIB))
    (watch.made.data_dir / "logs" / "backend.log").write_bytes(os.urandom(3 * MIB))
    assert watch.disk() == {"database": 2.0, "jobs": 0.0, "logs": 3.0, "cache": 0.0}


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="no /proc")
def test_memory_is_read_of_a_process():
    pss, rss = memory_mib(os.getpid())
    assert 0 < pss <= rss


@pytest.mark.parametrize(
    ("values", "grown"),
    [
        ([9, 9, 100, 100, 0, 0, 0, 0, 0, 0, 105, 105], 0.05),
        ([1] * 60, 0.0),
        ([1, 2, 3], None),
        ([0] * 12, None),
    ],
)
def test_growth_compares_the_last_sixth_with_the_second(values, grown):
    assert growth(values) == grown


def test_the_record_counts_what_went_wrong_and_is_json(watch):
    work = Work(watch.made, [], 1, done=Counter({"nights": 2}))
    memory = {service: {"pss": 100.0, "rss": 200.0} for service in ("backend", "trainer", "dashboard")}
    rows = []
    for minute in range(1, 7):
        found = row_of(Load([0.1, 0.2], [0.0], Counter({"503": 1})), work, watch)
        memory["backend"] = {"pss": 100.0, "rss": 100.0 + minute}
        rows.append({"minute": minute} | found | {"memory_mib": dict(memory)})
    record = record_of(rows, work, watch, {})
    assert (record["errors"], record["errors_by_reason"]) == (6, {"503": 6})
    assert [row["errors"] for row in record["by_minute"]] == [1, 2, 3, 4, 5, 6]
    assert record["memory_growth"] == {"backend": pytest.approx(106 / 102 - 1, abs=1e-4), "trainer": 0, "dashboard": 0}
    assert record["done"] == {"nights": 2, "requests": 12}
    assert json.loads(json.dumps(record)) == record
