import logging
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedmem.features.cache import Cache, FloatArray, cached_rows, content_key, default_cache_dir
from tests.forks import Forked
from tests.waiting import PATIENCE


def test_what_was_put_is_there_in_another_process_object(tmp_path: Path) -> None:
    Cache(tmp_path).put({"a": b"one", "b": b""})
    assert Cache(tmp_path).get(["a", "b", "c"]) == {"a": b"one", "b": b""}


def test_more_keys_than_one_query_takes(tmp_path: Path) -> None:
    entries = {str(number): str(number).encode() for number in range(1234)}
    Cache(tmp_path).put(entries)
    assert Cache(tmp_path).get(entries) == entries


def test_keys_tell_where_a_part_ends() -> None:
    assert content_key("ab", "c") != content_key("a", "bc")
    assert content_key("ab") != content_key("ab", "")
    assert content_key("ab", b"c") == content_key("ab", "c")


def test_the_environment_names_the_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEDMEM_CACHE_DIR", str(tmp_path / "elsewhere"))
    assert default_cache_dir() == tmp_path / "elsewhere"
    monkeypatch.delenv("FEDMEM_CACHE_DIR")
    assert default_cache_dir().name == "fedmem"


@pytest.mark.parametrize("damage", [b"", b"xx", b"12345678" + b"\x00" * 16])
def test_a_damaged_entry_is_reported_and_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    cache = Cache(tmp_path)
    cache.put({"a": b"good", "b": b"good"})
    with sqlite3.connect(cache.path) as connection:
        connection.execute("UPDATE entries SET value = ? WHERE key = 'a'", (damage,))
    connection.close()
    assert cache.get(["a", "b"]) == {"b": b"good"}
    assert "1 damaged entries" in caplog.text
    cache.put({"a": b"good"})
    assert cache.get(["a"]) == {"a": b"good"}


def test_a_value_under_another_key_is_damage(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put({"a": b"good"})
    with sqlite3.connect(cache.path) as connection:
        connection.execute("UPDATE entries SET key = 'b'")
    connection.close()
    assert cache.get(["b"]) == {}


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path)
    cache.path.write_bytes(b"noise" * 1000)
    assert cache.get(["a"]) == {}
    assert "set aside" in caplog.text
    cache.put({"a": b"1"})
    assert cache.get(["a"]) == {"a": b"1"}
    assert cache.path.with_suffix(".damaged").read_bytes().startswith(b"noise")


def test_a_directory_that_cannot_be_made_costs_time_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file")
    cache.put({"a": b"1"})
    cache.put({"b": b"1"})
    assert cache.get(["a"]) == {}
    assert caplog.text.count("cannot be used") == 1


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from fedmem.features.cache import Cache\n"
        "for n in range(60): Cache(sys.argv[1]).put({f'{sys.argv[2]}{n}': b'x' * 100})"
    )
    processes = [Forked([sys.executable, "-c", code, str(tmp_path), name]) for name in "ab"]
    assert [process.wait(timeout=PATIENCE) for process in processes] == [0, 0]
    keys = [f"{name}{number}" for name in "ab" for number in range(60)]
    assert len(Cache(tmp_path).get(keys)) == 120


class _Counting:
    """Encodes a position as the vector [position, position]; breaks off after ``limit`` rows."""

    def __init__(self, limit: int = 1000, leave_out: tuple[int, ...] = ()) -> None:
        self.limit, self.leave_out, self.encoded = limit, leave_out, list[int]()

    def __call__(self, missing: list[int]) -> Iterator[tuple[list[int], FloatArray]]:
        for position in missing:
            if len(self.encoded) == self.limit:
                raise KeyboardInterrupt
            if position not in self.leave_out:
                self.encoded.append(position)
                yield [position], np.full((1, 2), position, dtype=np.float32)


def test_rows_come_from_the_cache_the_second_time(tmp_path: Path) -> None:
    first, second, calls = _Counting(), _Counting(), list[tuple[int, int]]()
    keys = ["x", "y", "x", "z"]
    rows = cached_rows(Cache(tmp_path), keys, first, lambda done, total: calls.append((done, total)))
    assert first.encoded == [0, 1, 3], "a repeated key is computed once"
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    again = cached_rows(Cache(tmp_path), [*keys, "new"], second)
    assert second.encoded == [4], "one new item is one row"
    for row, other in zip(rows, again, strict=False):
        assert row is not None
        assert other is not None
        assert row.tobytes() == other.tobytes()
        assert other.dtype == np.float32


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    keys = [str(number) for number in range(10)]
    with pytest.raises(KeyboardInterrupt):
        cached_rows(Cache(tmp_path), keys, _Counting(limit=6))
    rest = _Counting()
    cached_rows(Cache(tmp_path), keys, rest)
    assert rest.encoded == [6, 7, 8, 9]


def test_what_is_left_out_is_none_and_not_remembered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    rows = cached_rows(Cache(tmp_path), ["a", "b"], _Counting(leave_out=(0,)))
    assert rows[0] is None
    assert rows[1] is not None
    assert not caplog.text
