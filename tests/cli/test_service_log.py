"""The output of a service, as lines of the log, in files of bounded size and number."""

import json
import logging
import os

import pytest

from cli import service_log
from cli.service_log import ServiceLog, in_short, kept_in
from tests.waiting import PATIENCE


@pytest.fixture
def said(tmp_path, monkeypatch):
    """``said(*lines)``: write lines as a process does; a file holds 1,000 bytes, and two are kept beside it."""
    monkeypatch.setattr(service_log, "LARGEST", 1000)
    monkeypatch.setattr(service_log, "KEPT", 2)

    def say(*lines: bytes) -> None:
        reads, writes = os.pipe()
        log = ServiceLog(os.fdopen(reads, "rb"), tmp_path / "trainer.log")
        with os.fdopen(writes, "wb") as output:
            output.writelines(lines)
        log.wait(PATIENCE)

    return say


def contents(folder):
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def messages(text):
    """What the lines say; each is an object."""
    return [json.loads(line)["message"] for line in text.splitlines()]


def test_what_is_said_is_added_to_the_file_as_objects(said, tmp_path):
    line = '{"time": "2026-01-01T00:00:00+00:00", "service": "trainer", "message": "a line of the log"}'
    said(line.encode() + b"\n", "zwei ü\n".encode(), b"\n", b"[1, 2]\n", b"{broken\n")
    said(b"not \xff text\n", b"no end of a line")
    text = contents(tmp_path)["trainer.log"]
    assert text.startswith(f"{line}\n")
    printed = json.loads(text.splitlines()[1])
    assert (printed["service"], printed["logger"], printed["level"]) == ("trainer", "output", "INFO")
    assert messages(text)[1:] == ["zwei ü", "[1, 2]", "{broken", "not \ufffd text", "no end of a line"]


def test_files_are_bounded_in_size_and_number(said, tmp_path):
    said(*(f"line {number}\n".encode() for number in range(1000)))
    found = contents(tmp_path)
    assert found.keys() == {"trainer.log", "trainer.log.1", "trainer.log.2"}
    assert all(len(text) <= 1000 for text in found.values())
    whole = found["trainer.log.2"] + found["trainer.log.1"] + found["trainer.log"]
    lines = messages(whole)
    assert len(lines) > 10
    assert lines == [f"line {number}" for number in range(1000 - len(lines), 1000)], "the newest, none lost"


def test_a_line_without_an_end_is_cut(said, tmp_path, monkeypatch):
    monkeypatch.setattr(service_log, "LONGEST_LINE", 40)
    said(b"x" * 10_000)
    assert all(len(text) <= 1000 for text in contents(tmp_path).values())
    assert len(contents(tmp_path)) == 3


def test_a_full_disk_loses_lines_and_says_nothing(said, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(service_log._Files, "shouldRollover", lambda self, record: 1 / 0)
    said(b"lost\n", b"lost too\n")
    assert contents(tmp_path) == {"trainer.log": ""}
    assert capfd.readouterr().err == ""


def test_a_process_keeps_its_own_log_likewise(tmp_path, said, own_logging):
    log = logging.getLogger("cli")
    log.setLevel(logging.INFO)
    log.propagate = True
    with kept_in(tmp_path / "logs" / "up.log"):
        for number in range(100):
            log.info("line %d", number)
    log.info("after its end")
    found = contents(tmp_path / "logs")
    assert found.keys() == {"up.log", "up.log.1", "up.log.2"}
    assert all(len(text) <= 1000 for text in found.values())
    assert {json.loads(line)["service"] for line in found["up.log"].splitlines()} == {"up"}
    assert messages(found["up.log"])[-1] == "line 99"


def test_a_line_in_short_has_the_error_of_its_traceback():
    assert in_short('{"message": "it failed", "exception": "Traceback ..\\nKeyError: 1"}') == "it failed KeyError: 1"
    assert in_short('{"message": "a port is taken"}') == "a port is taken"
    assert in_short("printed") == "printed"
    assert in_short("7") == "7"
