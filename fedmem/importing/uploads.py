"""Uploaded files on the disk: each in a folder of its own, for as long as it is used, and read by a process of its own.

A folder holds the file below ``file/``, ``state.json``, which is what the API tells, and ``order.json``, which is what
the process is to do; ``stop`` in it tells the process to end, ``gone`` that all of it is to go once that is over. Only
one reads at a time: it holds the lock of a file beside the folders, whose text says which uploads it reads. Who writes
a file that arrives holds the lock of ``arriving`` beside it. So processes that were killed are known for dead.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from uuid import uuid4

from fedmem.checkpoint.atomic_files import writing
from fedmem.contracts.uploads import UNDER_WAY, ImportUpload, ReadUpload, Upload, UploadState
from fedmem.errors import ConflictError, DataError, DiskFullError, UnknownError
from fedmem.footprint import shown

KEPT_SECONDS, MOST = 3600.0, 8
RESERVE = 64 * 2**20  # bytes that an upload leaves free on the disk
STOP_SECONDS, POLL_SECONDS = 10.0, 0.05  # that a process has to end which is told to, and between two looks
STATE, ORDER, FILE, ARRIVING, STOP, GONE = "state.json", "order.json", "file", "arriving", "stop", "gone"
KILLED: dict[UploadState, str] = {
    "reading": "the process that read it was ended before it was done, for want of memory or after an hour of work, "
    "and nothing was stored; try again, or import the file in parts",
    "writing": "the process that imported it was ended before it said what it had stored; import it again, in parts if "
    "memory was short: what is stored already counts once",
}


@dataclass(frozen=True)
class IncomingUpload:
    """A file that arrives: where it is to be written, and its writer's lock."""

    upload_id: str
    path: Path
    lock: IO[bytes]

    @property
    def folder(self) -> Path:
        """Everything of the upload is in here."""
        return self.path.parent.parent


class Uploads:
    """Keeps the uploaded files of an installation.

    Args:
        folder: where; made at the first upload.
        database_url: the database that they are imported into.
        clock: tells the time in seconds since 1970.
    """

    def __init__(self, folder: Path, database_url: str, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._url, self._clock = folder, database_url, clock
        self._starting = threading.Lock()

    @contextmanager
    def arriving(self, filename: str, size: int = 0) -> Iterator[IncomingUpload]:
        """Make room for a file, which goes again unless the block comes to its end.

        Where there are very many, the one that was not used for longest gives way.

        Args:
            filename: its name.
            size: in bytes, as far as it is known.

        Raises:
            DataError: if the name is none.
            ConflictError: if all of them arrive just now, or are read.
            CheckpointError: if the folder cannot be written, or the disk is to have room for other things too.
        """
        if filename in (".", "..") or "/" in filename or len(filename.encode()) > 255:
            raise DataError(f"filename = {filename!r} is no name of a file; give one without a folder")
        self.tidy()
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._require_room(size)
            arrival = self._begin(filename)
        try:
            yield arrival
        except BaseException:
            shutil.rmtree(arrival.folder, ignore_errors=True)
            raise
        finally:
            arrival.lock.close()

    def _begin(self, filename: str) -> IncomingUpload:
        upload_id = uuid4().hex
        with self._starting:
            self._make_room()
            place = self._folder / upload_id / FILE
            place.mkdir(parents=True)
            lock = (self._folder / upload_id / ARRIVING).open("wb")
            fcntl.flock(lock, fcntl.LOCK_EX)
        return IncomingUpload(upload_id, place / filename, lock)

    def _require_room(self, size: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if size + RESERVE > free:
            raise DiskFullError(
                f"{self._folder}: {shown(free)} are free, too little for this file and what else is stored; make room"
            )

    def _make_room(self) -> None:
        there = sorted(self._folder.glob("*/"), key=_last_used)
        idle = [one for one in there if not self._is_used(one)]
        if len(there) - len(idle) >= MOST:
            raise ConflictError(f"{MOST} uploads arrive or are read just now; wait until one is done")
        for folder in idle[: max(0, len(there) - MOST + 1)]:
            shutil.rmtree(folder, ignore_errors=True)

    def all(self) -> list[Upload]:
        """List the uploads, the one that was used last first."""
        found = []
        for path in self._folder.glob(f"*/{STATE}"):
            with suppress(UnknownError):  # it is just being removed
                found.append(self.get(path.parent.name))
        return sorted(found, key=lambda upload: upload.changed_at, reverse=True)

    def end(self, arrival: IncomingUpload) -> Upload:
        """Take up a file that is written whole.

        Raises:
            ConflictError: if a user was deleted meanwhile, whom it may hold.
            CheckpointError: if there is no room for it.
        """
        with self._starting, writing(arrival.folder):
            if (arrival.folder / GONE).exists():
                raise ConflictError("a user was deleted while the file arrived, whom it may hold; upload it again")
            upload = Upload(
                upload_id=arrival.upload_id,
                filename=arrival.path.name,
                size=arrival.path.stat().st_size,
                state="uploaded",
                changed_at=datetime.fromtimestamp(self._clock(), UTC),
            )
            write_state(arrival.folder, upload)
        return upload

    def get(self, upload_id: str) -> Upload:
        """Tell how far an upload is.

        Raises:
            UnknownError: if there is none, or it was removed after a while.
        """
        found = self._read(upload_id)
        if found.state in UNDER_WAY and not self._is_read(upload_id):
            found = self._read(upload_id)  # it may just have been done
            if found.state in UNDER_WAY:
                return found.model_copy(update={"state": "failed", "error": KILLED[found.state]})
        return found

    def file(self, upload_id: str) -> Path:
        """Find the file of an upload.

        Raises:
            UnknownError: if it is not there any more.
        """
        path = next((self._folder / upload_id / FILE).glob("*"), None)
        if path is None:
            raise UnknownError(f"the file of the upload {upload_id} is not there any more; upload it again")
        return path

    def start(self, upload_id: str, order: ReadUpload) -> Upload:
        """Let a process read an upload, and import it where that is the order.

        Raises:
            UnknownError: if a file is not there any more.
            ConflictError: if another is being read.
            CheckpointError: if the order cannot be written.
        """
        self.file(upload_id)
        if order.items is not None:
            self.file(order.items)
        state: UploadState = "writing" if isinstance(order, ImportUpload) else "reading"
        with self._starting, writing(self._folder), (self._folder / "lock").open("a+", encoding="ascii") as lock:
            self._take(lock)
            lock.truncate(0)
            lock.write(" ".join(filter(None, (upload_id, order.items))))
            lock.flush()
            fresh = self._read(upload_id).model_dump(include={"upload_id", "filename", "size"})
            now = datetime.fromtimestamp(self._clock(), UTC)
            upload = Upload(**fresh, state=state, changed_at=now, stage="reading the files")
            folder = self._folder / upload_id
            write_state(folder, upload)
            (folder / ORDER).write_text(order.model_dump_json(), encoding="utf-8")
            process = subprocess.Popen(
                [sys.executable, "-m", "fedmem.importing", str(folder)],
                env=os.environ | {"DATABASE_URL": self._url, "RUST_BACKTRACE": "0"},
                stdin=subprocess.DEVNULL,
                pass_fds=[lock.fileno()],  # the lock is held until its end, whatever ends it
            )
        threading.Thread(target=process.wait, daemon=True).start()
        return upload

    def _take(self, lock: IO[str]) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            if self._is_under_way(lock.read().partition(" ")[0]):
                raise ConflictError("another upload is being read; wait until it is done") from None
            fcntl.flock(lock, fcntl.LOCK_EX)  # the process has said that it is done, and ends

    def remove(self, upload_id: str) -> None:
        """Remove an upload, and end the process that reads it; one that is not there is removed.

        Raises:
            ConflictError: if it describes the items of one that is being read, or the process does not end: then it is
                removed once it does.
        """
        folder = self._folder / upload_id
        with self._starting:
            if not self._is_worked_on(upload_id):
                shutil.rmtree(folder, ignore_errors=True)
                return
            if self._read_now()[0] != upload_id:
                raise ConflictError("the upload describes the items of one that is being read; remove that one first")
            (folder / STOP).touch()
            (folder / GONE).touch()
        if not self._has_ended(upload_id):
            raise ConflictError("the process that reads the upload has not ended yet; it is removed once it has")
        shutil.rmtree(folder, ignore_errors=True)

    def _has_ended(self, upload_id: str) -> bool:
        deadline = time.monotonic() + STOP_SECONDS
        while self._is_read(upload_id):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def remove_all(self) -> None:
        """Remove every upload, as any may hold a user who was deleted; what is being read goes once that is done."""
        for folder in self._folder.glob("*/"):
            with suppress(FileNotFoundError):  # another removes it meanwhile
                (folder / GONE).touch()
        self.tidy()

    def tidy(self) -> None:
        """Remove what was not used for an hour, and what is to go."""
        for folder in self._folder.glob("*/"):
            with self._starting:
                old = _last_used(folder) < self._clock() - KEPT_SECONDS
                if (old or (folder / GONE).exists()) and not self._is_used(folder):
                    shutil.rmtree(folder, ignore_errors=True)

    def _read(self, upload_id: str) -> Upload:
        try:
            return Upload.model_validate_json((self._folder / upload_id / STATE).read_bytes())
        except (OSError, ValueError):  # there is none, or it was cut off
            raise UnknownError(f"there is no upload {upload_id}, or not any more; upload the file again") from None

    def _is_used(self, folder: Path) -> bool:
        """Say whether the upload arrives just now, or a process reads it."""
        return _is_locked(folder / ARRIVING) or self._is_worked_on(folder.name)

    def _is_worked_on(self, upload_id: str) -> bool:
        """Say whether a process is still to write: one that is done holds its lock for a moment more."""
        read = self._read_now()
        return upload_id in read and self._is_under_way(read[0])

    def _is_under_way(self, upload_id: str) -> bool:
        try:
            return self._read(upload_id).state in UNDER_WAY
        except UnknownError:
            return False

    def _is_read(self, upload_id: str) -> bool:
        return upload_id in self._read_now()

    def _read_now(self) -> list[str]:
        """List the uploads that a process reads: first the one that it is about, then the one of its items."""
        path = self._folder / "lock"
        return path.read_text(encoding="ascii").split() if _is_locked(path) else []


def _last_used(folder: Path) -> float:
    """Tell when something was last written there, in seconds since 1970; 0 where another has just removed it."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _is_locked(path: Path) -> bool:
    """Say whether a process holds the lock of a file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def write_state(folder: Path, upload: Upload) -> None:
    """Write what is told of an upload, in one step."""
    beside = folder / f"{STATE}.new"
    beside.write_text(upload.model_dump_json(), encoding="utf-8")
    beside.replace(folder / STATE)
