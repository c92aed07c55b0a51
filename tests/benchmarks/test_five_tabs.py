"""Five tabs at a tiny size, and two of them: real processes and a real browser. Nothing asserts a time."""

import json
import shutil
import sqlite3
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from benchmarks import five_tabs
from benchmarks import product as products
from benchmarks.five_tabs import Sizes, Stretch, figures
from benchmarks.lock_waits import count_waits, noted
from fedmem.data.demo import write_demo
from fedmem.storage.engine import connect, writing
from tests.forks import CONTEXT
from tests.waiting import PATIENCE

SECONDS = 0.3


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser: apt-get install chromium")
def test_every_figure_comes_out(monkeypatch):
    monkeypatch.setattr(products, "write_demo", partial(write_demo, num_users=60, num_items=40))
    tiny = {"features": {"text": "off", "image": "off"}, "fedmem": {"warmup_rounds": 1}}
    monkeypatch.setattr(products, "ENDLESS", products.ENDLESS | tiny)
    monkeypatch.setattr(five_tabs, "PAGES", ("", "memory"))
    record = five_tabs.five_tabs(Sizes(alternations=1, rounds=10))
    assert record["ratio_least"] <= record["ratio"] <= record["ratio_greatest"]
    assert record["ratio"] > 0
    assert record["polls"] > 0
    assert (record["failed_polls"], record["failed_by_reason"], record["locked_in_logs"]) == (0, {}, 0)
    assert record["ratio_of_polls"] > 0
    assert record["backend_writes"] == dict.fromkeys(five_tabs.SIDES, 0)
    assert [len(record["cpu_seconds_per_round"][side]) for side in five_tabs.SIDES] == [3, 1, 1]
    assert json.loads(json.dumps(record)) == record


def test_a_stretch_with_tabs_is_compared_with_those_around_it():
    plain = [Stretch(cpu, 1.0, {}, [], 0, Counter()) for cpu in (1.0, 1.2, 1.2, 1.4, 1.4)]
    polled = [Stretch(1.2, 1.0, {}, [], 0, Counter()), Stretch(1.4, 1.0, {}, [], 0, Counter())]
    answers = Counter({("/jobs/{job_id}", "200"): 5, ("/models", "503"): 2})
    tabbed = [
        Stretch(1.21, 1.0, {}, [("heartbeat", 0.002)], 0, answers),
        Stretch(1.3, 1.0, {}, [("heartbeat", 0.001), ("MainThread", 0.001)], 3, Counter(), ["it does not answer"]),
    ]
    found = figures({"without": plain, "with": tabbed, "polls": polled})
    assert (found["ratio_of_polls_least"], found["ratio_of_polls_greatest"]) == (1.0, 1.0)
    assert (found["ratio_least"], found["ratio_greatest"]) == pytest.approx((1.0, 1.1))
    assert found["ratio"] == pytest.approx(1.05)
    assert found["lock_waits"] == {"without": {}, "with": {"heartbeat": 2, "MainThread": 1}, "polls": {}}
    assert found["backend_writes"] == {"without": 0, "with": 3, "polls": 0}
    assert found["longest_lock_wait_ms"] == {"without": 0.0, "with": 2.0, "polls": 0.0}
    assert found["failed_by_reason"] == {"503 /models": 2, "it does not answer": 1}
    assert (found["failed_polls"], found["polls"]) == (3, 7)


def test_only_a_write_that_finds_the_lock_taken_is_counted(tmp_path):
    # In a process of its own: what listens to every engine cannot be taken back.
    process = CONTEXT.Process(target=wait_for_lock, args=(tmp_path,))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0
    ((first, at_once), (second, waited)) = noted(tmp_path / "locks")
    assert (first, second, at_once) == ("MainThread", "MainThread", 0.0)
    assert waited > SECONDS / 2


def wait_for_lock(folder: Path) -> None:
    """A write that does not wait, and one that waits for another connection's."""
    import threading

    count_waits(folder / "locks", every=True)
    engine = connect(f"sqlite:///{folder / 'one.db'}")
    with writing(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE numbers (number INTEGER)")
    other = sqlite3.connect(folder / "one.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(SECONDS, lambda: other.execute("ROLLBACK")).start()
    with writing(engine) as connection:
        connection.exec_driver_sql("INSERT INTO numbers VALUES (1)")
