"""Uploaded files on the disk: each in a folder of its own, for as long as it is used, and read by a process of its own.

A folder holds the file below ``file/``, ``state.json``, which is what the API tells, and ``order.json``, which is what
the process is to do. Only one reads at a time: it holds the lock of a file beside the folders, whose text says for
which upload; so that a process that was killed is known for dead.
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
STATE, ORDER, FILE, GONE = "state.json", "order.json", "file", "gone"
KILLED = (
    "the process that read it was ended before it was done, for want of memory say, and nothing was stored; try again, "
    "or import the file in parts"
)


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

        Raises:
            DataError: if the name is none.
            ConflictError: if there are very many uploads already.
        """
        if filename in (".", "..") or "/" in filename or len(filename.encode()) > 255:
            raise DataError(f"filename = {filename!r} is no name of a file; give one without a folder")
        self.tidy()
        if sum(1 for _ in self._folder.glob(f"*/{FILE}/*")) >= MOST:
            raise ConflictError(f"{MOST} uploads are there already; import or delete one, or wait for an hour")
        upload_id = uuid4().hex
        place = self._folder / upload_id / FILE
        place.mkdir(parents=True)
        return upload_id, place / filename

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
                return found.model_copy(update={"state": "failed", "error": KILLED})
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
        """Remove an upload; one that is not there is removed.

        Raises:
            ConflictError: if it is being read.
        """
        with self._starting:
            if self._is_worked_on(upload_id):
                raise ConflictError("the upload is being read; wait until it is done")
            shutil.rmtree(self._folder / upload_id, ignore_errors=True)

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
                old = folder.stat().st_mtime < self._clock() - KEPT_SECONDS
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


def write_state(folder: Path, upload: Upload) -> None:
    """Write what is told of an upload, in one step."""
    beside = folder / f"{STATE}.new"
    beside.write_text(upload.model_dump_json(), encoding="utf-8")
    beside.replace(folder / STATE)
