"""What a service says on its output, as lines of the log, in files that are bounded in size and number."""

import contextlib
import json
import logging
import threading
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

from fedmem.logs import JsonLines

LARGEST = 5 * 2**20  # bytes of a file
KEPT = 4  # older files: trainer.log.1 is the newest of them
LONGEST_LINE = 64 * 2**10  # bytes; a longer one is cut into several


class _Files(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Lose a line for which there is no room: the service goes on."""


class _Objects(JsonLines):
    """Leaves what is an object as it is; what libraries and the interpreter print by themselves becomes one."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the line."""
        return record.getMessage() if _is_object(record.getMessage()) else super().format(record)


class ServiceLog:
    """Copies the output of a process to a file, in a thread, until the process closes it.

    Args:
        output: of the process.
        file: to add to; once it is full it is renamed, and the oldest goes.
    """

    def __init__(self, output: IO[bytes], file: Path) -> None:
        self._output = output
        self._handler = _files(file, _Objects(file.stem))
        self._thread = threading.Thread(target=self._copy, name=f"log of {file.stem}", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until all is in the file; children of the process may keep the output open for longer."""
        self._thread.join(seconds)

    def _copy(self) -> None:
        with self._output, contextlib.closing(self._handler):
            while line := self._output.readline(LONGEST_LINE):
                if text := line.decode(errors="replace").strip():
                    self._handler.emit(logging.LogRecord("output", logging.INFO, "", 0, text, None, None))


@contextlib.contextmanager
def kept_in(file: Path) -> Iterator[None]:
    """Copy this process's own log to a file that is rotated likewise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handler, root = _files(file, JsonLines(file.stem)), logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def in_short(line: str) -> str:
    """Return what a line of the log says, with the error at the end of its traceback."""
    try:
        found = json.loads(line)
        return " ".join([found["message"], *found.get("exception", "").splitlines()[-1:]])
    except (ValueError, TypeError, LookupError):
        return line


def _files(file: Path, lines: logging.Formatter) -> _Files:
    handler = _Files(file, maxBytes=LARGEST, backupCount=KEPT, encoding="utf-8", errors="replace")
    handler.setFormatter(lines)
    return handler


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
