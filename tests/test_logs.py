"""One log for all services: an object a line, with what the line is about."""

import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from contextvars import copy_context
from datetime import UTC, datetime

import pytest

from fedmem.logs import EXTRA, LONGEST_LINE, JsonLines, PlainLines, about, log_to_stderr, logs_as_json


class Terminal(io.StringIO):
    """A stderr with a reader."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def service(own_logging, monkeypatch):
    """``service("trainer", stderr)``: be one that writes there; its lines."""

    def be(name: str, stderr: io.StringIO):
        monkeypatch.setattr(sys, "stderr", stderr)
        log_to_stderr(name)
        return lambda: stderr.getvalue().splitlines()

    return be


def test_a_line_is_an_object_that_says_when_who_and_what(service):
    lines = service("trainer", io.StringIO())
    before = datetime.now(UTC).replace(microsecond=0)
    logging.getLogger("trainer.worker").info("job %d\nends", 3, extra={EXTRA: {"round": 7}})
    (line,) = map(json.loads, lines())
    assert before <= datetime.fromisoformat(line.pop("time")) <= datetime.now(UTC)
    assert line == {
        "level": "INFO", "service": "trainer", "logger": "trainer.worker", "message": "job 3\nends", "round": 7,
    }  # fmt: skip
    assert logs_as_json()


def test_an_exception_stays_within_its_line(service):
    lines = service("backend", io.StringIO())
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("backend").exception("it failed")
    (line,) = map(json.loads, lines())
    assert line["message"] == "it failed"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: two\nlines")


def test_what_libraries_warn_of_is_there_and_what_they_chat_is_not(service, monkeypatch):
    for name in ("uvicorn", "uvicorn.error"):  # Streamlit, in another test of this process, may have them to itself
        for attribute, value in (("propagate", True), ("handlers", []), ("level", logging.NOTSET), ("_cache", {})):
            monkeypatch.setattr(logging.getLogger(name), attribute, value)
    lines = service("backend", io.StringIO())
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert [json.loads(line)["logger"] for line in lines()] == ["uvicorn.error", "py.warnings"]


def test_all_that_is_logged_within_is_about_the_same(service):
    lines, log = service("trainer", io.StringIO()), logging.getLogger("fedmem.experiment")
    with about(dataset="films", job=None), about(job=4):
        log.info("within")
        for target in (copy_context().run, lambda call: call()):
            thread = threading.Thread(target=target, args=[lambda: log.info("in a thread")])
            thread.start()
            thread.join()
    log.info("afterwards")
    found = [(line["message"], line.get("job"), line.get("dataset")) for line in map(json.loads, lines())]
    assert found == [
        ("within", 4, "films"), ("in a thread", 4, "films"), ("in a thread", None, None), ("afterwards", None, None),
    ]  # fmt: skip


def test_a_line_is_bounded_whatever_is_said():
    record = logging.LogRecord("x", logging.ERROR, "", 0, "🦊" * 100_000, None, None)
    setattr(record, EXTRA, {"exception": "at the beginning" + "\x01" * 100_000 + "at the end", "round": 1})
    text = JsonLines("trainer").format(record)
    assert len(text) < 2 * LONGEST_LINE
    line = json.loads(text)
    assert (line["exception"][:6], line["exception"][-6:], line["round"]) == ("at the", "he end", 1)


def test_in_a_terminal_a_line_is_to_be_read_and_steers_nothing(service):
    lines = service("backend", Terminal())
    with about(job=3):
        logging.getLogger("backend").warning("the name \x1b[2Jis \u009bodd")
    try:
        raise KeyError("x")
    except KeyError:
        logging.getLogger("backend").exception("it failed")
    first, second, *trace = lines()
    assert first.endswith("WARNING the name ?[2Jis ?odd job=3")
    assert second.endswith("ERROR it failed")
    assert (trace[0][:9], trace[-1]) == ("Traceback", "KeyError: 'x'")
    assert not logs_as_json()
    assert isinstance(logging.getLogger().handlers[-1].formatter, PlainLines)


@pytest.mark.parametrize(("error", "said"), [("1 / 0", ["ZeroDivisionError"]), ("raise KeyboardInterrupt", [])])
def test_what_ends_a_process_or_its_thread_is_a_line_each(error, said):
    script = f"""
import threading
from fedmem.logs import log_to_stderr
log_to_stderr("trainer")
def fail():
    {error}
thread = threading.Thread(target=fail)
thread.start()
thread.join()
fail()
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["exception"].splitlines()[-1].partition(":")[0] for line in lines] == 2 * said
    assert all(line["level"] == "CRITICAL" for line in lines)


def test_the_same_is_said_once(service):
    lines = service("dashboard", io.StringIO())
    for _ in range(3):
        logging.getLogger("streamlit.web").warning("no room")
    assert len(lines()) == 1
