"""Uploaded files on the disk: each in a folder of its own, for as long as it is used, and read by a process of its own.

A folder holds the file below ``file/``, ``state.json``, which is what the API tells, and ``order.json``, which is what
the process is to do; ``stop`` in it tells the process to end, ``gone`` that all of it is to go once that is over. Only
one reads at a time: it holds the lock of a file beside the folders, whose text says for which upload; so that a process
that was killed is known for dead.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from uuid import uuid4

from fedmem.contracts.uploads import UNDER_WAY, ImportUpload, ReadUpload, Upload, UploadState
from fedmem.errors import ConflictError, DataError, UnknownError

KEPT_SECONDS, MOST = 3600.0, 8
STOP_SECONDS, POLL_SECONDS = 10.0, 0.05  # that a process has to end which is told to, and between two looks
STATE, ORDER, FILE, STOP, GONE = "state.json", "order.json", "file", "stop", "gone"
KILLED: dict[UploadState, str] = {
    "reading": "the process that read it was ended before it was done, for want of memory or after an hour of work, "
    "and nothing was stored; try again, or import the file in parts",
    "writing": "the process that imported it was ended before it said what it had stored; import it again, in parts if "
    "memory was short: what is stored already counts once",
}


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

    def begin(self, filename: str) -> tuple[str, Path]:
        """Make room for a file; return the upload's id and where the file is to be written.

        Where there are very many, the one that was not used for longest gives way.

        Raises:
            DataError: if the name is none.
            ConflictError: if all of them arrive just now, or are read.
        """
        if filename in (".", "..") or "/" in filename or len(filename.encode()) > 255:
            raise DataError(f"filename = {filename!r} is no name of a file; give one without a folder")
        self.tidy()
        self._make_room()
        upload_id = uuid4().hex
        place = self._folder / upload_id / FILE
        place.mkdir(parents=True)
        return upload_id, place / filename

    def _make_room(self) -> None:
        with self._starting:
            there = sorted(self._folder.glob("*/"), key=_last_used)
            whole = [one for one in there if (one / STATE).exists() and not self._is_worked_on(one.name)]
            if len(there) - len(whole) >= MOST:
                raise ConflictError(f"{MOST} uploads arrive or are read just now; wait until one is done")
            for folder in whole[: max(0, len(there) - MOST + 1)]:
                shutil.rmtree(folder, ignore_errors=True)

    def all(self) -> list[Upload]:
        """List the uploads, the one that was used last first."""
        found = []
        for path in self._folder.glob(f"*/{STATE}"):
            with suppress(UnknownError):  # it is just being removed
                found.append(self.get(path.parent.name))
        return sorted(found, key=lambda upload: upload.changed_at, reverse=True)

    def end(self, upload_id: str) -> Upload:
        """Take up a file that is written whole."""
        path = self.file(upload_id)
        upload = Upload(
            upload_id=upload_id,
            filename=path.name,
            size=path.stat().st_size,
            state="uploaded",
            changed_at=datetime.fromtimestamp(self._clock(), UTC),
        )
        write_state(self._folder / upload_id, upload)
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
        """
        self.file(upload_id)
        if order.items is not None:
            self.file(order.items)
        state: UploadState = "writing" if isinstance(order, ImportUpload) else "reading"
        with self._starting, (self._folder / "lock").open("a+", encoding="ascii") as lock:
            self._take(lock)
            lock.truncate(0)
            lock.write(upload_id)
            lock.flush()
            fresh = self._read(upload_id).model_dump(include={"upload_id", "filename", "size"})
            now = datetime.fromtimestamp(self._clock(), UTC)
            upload = Upload(**fresh, state=state, changed_at=now, stage="reading the files")
            folder = self._folder / upload_id
            write_state(folder, upload)
            (folder / ORDER).write_text(order.model_dump_json(), encoding="utf-8")
            process = subprocess.Popen(
                [sys.executable, "-m", "fedmem.importing", str(folder)],
                env=os.environ | {"DATABASE_URL": self._url},
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
            if self._is_under_way(lock.read()):
                raise ConflictError("another upload is being read; wait until it is done") from None
            fcntl.flock(lock, fcntl.LOCK_EX)  # the process has said that it is done, and ends

    def remove(self, upload_id: str) -> None:
        """Remove an upload, and end the process that reads it; one that is not there is removed.

        Raises:
            ConflictError: if the process does not end: it is removed once it does.
        """
        folder = self._folder / upload_id
        with self._starting:
            if not self._is_worked_on(upload_id):
                shutil.rmtree(folder, ignore_errors=True)
                return
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
                if (old or (folder / GONE).exists()) and not self._is_worked_on(folder.name):
                    shutil.rmtree(folder, ignore_errors=True)

    def _read(self, upload_id: str) -> Upload:
        try:
            return Upload.model_validate_json((self._folder / upload_id / STATE).read_bytes())
        except OSError:
            raise UnknownError(f"there is no upload {upload_id}, or not any more; upload the file again") from None

    def _is_worked_on(self, upload_id: str) -> bool:
        """Say whether a process is still to write: one that is done holds its lock for a moment more."""
        return self._is_read(upload_id) and self._is_under_way(upload_id)

    def _is_under_way(self, upload_id: str) -> bool:
        try:
            return self._read(upload_id).state in UNDER_WAY
        except UnknownError:
            return False

    def _is_read(self, upload_id: str) -> bool:
        with self._opened() as lock:
            if lock is None:
                return False
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return os.pread(lock, 64, 0).decode("ascii") == upload_id
            return False

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        try:
            lock = os.open(self._folder / "lock", os.O_RDONLY)
        except FileNotFoundError:
            yield None
            return
        try:
            yield lock
        finally:
            os.close(lock)


def _last_used(folder: Path) -> float:
    """Tell when something was last written there, in seconds since 1970; 0 where another has just removed it."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def write_state(folder: Path, upload: Upload) -> None:
    """Write what is told of an upload, in one step."""
    beside = folder / f"{STATE}.new"
    beside.write_text(upload.model_dump_json(), encoding="utf-8")
    beside.replace(folder / STATE)
