"""The output of a service in files of bounded size and number."""

import os

import pytest

from cli import service_log
from cli.service_log import ServiceLog
from tests.waiting import PATIENCE


@pytest.fixture
def said(tmp_path, monkeypatch):
    """``said(*lines)``: write lines as a process does, and end; a file holds 100 bytes, and two are kept beside it."""
    monkeypatch.setattr(service_log, "LARGEST", 100)
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


def test_what_is_said_is_added_to_the_file(said, tmp_path):
    said(b"one\n", "zwei ü\n".encode())
    said(b"not \xff text\n", b"no end of a line")
    assert contents(tmp_path) == {"trainer.log": "one\nzwei ü\nnot \ufffd text\nno end of a line\n"}


def test_files_are_bounded_in_size_and_number(said, tmp_path):
    said(*(f"line {number}\n".encode() for number in range(1000)))
    found = contents(tmp_path)
    assert found.keys() == {"trainer.log", "trainer.log.1", "trainer.log.2"}
    assert all(len(text) <= 100 for text in found.values())
    whole = found["trainer.log.2"] + found["trainer.log.1"] + found["trainer.log"]
    lines = whole.splitlines()
    assert lines == [f"line {number}" for number in range(1000 - len(lines), 1000)], "the newest, none lost"


def test_a_line_without_an_end_is_cut(said, tmp_path, monkeypatch):
    monkeypatch.setattr(service_log, "LONGEST_LINE", 40)
    said(b"x" * 1000)
    assert all(len(text) <= 100 for text in contents(tmp_path).values())
    assert len(contents(tmp_path)) == 3


def test_a_full_disk_loses_lines_and_says_nothing(said, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(service_log._Files, "shouldRollover", lambda self, record: 1 / 0)
    said(b"lost\n", b"lost too\n")
    assert contents(tmp_path) == {"trainer.log": ""}
    assert capfd.readouterr().err == ""
