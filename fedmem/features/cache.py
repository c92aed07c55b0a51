"""An on-disk cache of what encoders and language models answered, keyed by the hash of everything that went in.

One SQLite file per directory: adding one item encodes one item, and two processes may use it at once. Every value
carries a checksum. A cache that is damaged or cannot be written costs time, never a run: it warns and recomputes.
"""

import hashlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import platformdirs

from fedmem.features.settings import FeatureSettings

logger = logging.getLogger(__name__)

T = TypeVar("T")
FloatArray = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
Batches = Iterable[tuple[Sequence[int], FloatArray]]

FILE_NAME = "features.sqlite"
_CHECKSUM_BYTES = 8
_KEYS_PER_QUERY = 500  # below SQLite's limit on bound parameters
_SECONDS_TO_WAIT_FOR_A_LOCK = 30


def default_cache_dir() -> Path:
    """Return ``FEDMEM_CACHE_DIR`` if it is set, else the user's cache directory of this platform."""
    chosen = FeatureSettings.load().cache_dir
    return chosen.expanduser() if chosen else Path(platformdirs.user_cache_dir("fedmem"))


def content_key(*parts: str | bytes) -> str:
    """Compute SHA-256 over the parts, each with its length before it, so that no two lists of parts share a key."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()


class Cache:
    """Bytes by key in ``directory/features.sqlite`` (default: ``default_cache_dir()``)."""

    def __init__(self, directory: Path | str | None = None) -> None:
        self.path = (Path(directory) if directory is not None else default_cache_dir()) / FILE_NAME
        self._usable = True

    def get(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Get the values that are there and whole; a damaged one is reported and left out."""
        wanted = list(dict.fromkeys(keys))
        if not wanted or not self.path.exists():
            return {}
        stored = self._guarded(lambda connection: _select(connection, wanted)) or []
        return dict(self._whole(stored))

    def put(self, entries: Mapping[str, bytes]) -> None:
        """Store all entries in one transaction: after a crash either all of them are there or none."""
        if entries:
            rows = [(key, _checksum(key, value) + value) for key, value in entries.items()]
            self._guarded(lambda connection: _insert(connection, rows))

    def _whole(self, stored: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        damaged = 0
        for key, raw in stored:
            checksum, value = raw[:_CHECKSUM_BYTES], raw[_CHECKSUM_BYTES:]
            if checksum == _checksum(key, value):
                yield key, value
            else:
                damaged += 1
        if damaged:
            logger.warning("%d damaged entries in the feature cache %s are computed again", damaged, self.path)

    def _guarded(self, operation: Callable[[sqlite3.Connection], T]) -> T | None:
        """Run one operation; a file that is no database is set aside and the operation tried once more."""
        if not self._usable:
            return None
        try:
            try:
                return self._run(operation)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                self._set_aside(error)
                return self._run(operation)
        except (sqlite3.Error, OSError) as error:
            logger.warning("the feature cache %s cannot be used (%s): features are computed anew", self.path, error)
            self._usable = False
            return None

    def _run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _connected(self.path) as connection:
            return operation(connection)

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        logger.warning("the feature cache %s is damaged (%s): set aside, features are computed anew", self.path, error)
        os.replace(self.path, self.path.with_suffix(".damaged"))
        for suffix in ("-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=_SECONDS_TO_WAIT_FOR_A_LOCK)) as connection, connection:
        # Not in WAL mode: that ends with the last connection, and who connects just then is refused without a wait.
        connection.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL)")
        yield connection


def _select(connection: sqlite3.Connection, keys: Sequence[str]) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        part = keys[start : start + _KEYS_PER_QUERY]
        marks = ",".join("?" * len(part))
        found += connection.execute(f"SELECT key, value FROM entries WHERE key IN ({marks})", part).fetchall()
    return found


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[str, bytes]]) -> None:
    connection.executemany("INSERT OR REPLACE INTO entries (key, value) VALUES (?, ?)", rows)


def _checksum(key: str, value: bytes) -> bytes:
    return hashlib.sha256(key.encode() + value).digest()[:_CHECKSUM_BYTES]


def cached_rows(
    cache: Cache,
    keys: Sequence[str],
    compute: Callable[[list[int]], Batches],
    progress: Progress | None = None,
) -> list[FloatArray | None]:
    """Get one float32 vector per key, from the cache or from ``compute``.

    ``compute`` gets the positions that are missing (one per distinct key) and yields (positions, [b, D]) batches;
    each batch is stored at once, so that an interrupted run goes on where it stopped. A position it never yields
    stays ``None``. ``progress`` is told (distinct keys done, distinct keys).
    """
    rows = {key: np.frombuffer(value, dtype="<f4").astype(np.float32) for key, value in cache.get(keys).items()}
    first_position = {key: position for position, key in reversed(list(enumerate(keys)))}
    missing = sorted(position for key, position in first_position.items() if key not in rows)
    done = len(rows)
    _report(progress, done, len(first_position))
    for positions, vectors in compute(missing) if missing else ():
        batch = {keys[position]: vector for position, vector in zip(positions, vectors, strict=True)}
        cache.put({key: vector.astype("<f4").tobytes() for key, vector in batch.items()})
        rows |= batch
        done += len(batch)
        _report(progress, done, len(first_position))
    return [rows.get(key) for key in keys]


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
