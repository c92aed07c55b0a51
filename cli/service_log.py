"""What a service says on its output, in files that are bounded in size and number."""

import contextlib
import logging
import threading
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

LARGEST = 5 * 2**20  # bytes of a file
KEPT = 4  # older files: trainer.log.1 is the newest of them
LONGEST_LINE = 64 * 2**10  # bytes; a longer one is cut into several


class _Files(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Lose a line for which there is no room: the service goes on."""


class ServiceLog:
    """Copies the output of a process to a file, in a thread, until the process closes it.

    Args:
        output: of the process.
        file: to add to; once it is full it is renamed, and the oldest goes.
    """

    def __init__(self, output: IO[bytes], file: Path) -> None:
        self._output = output
        self._handler = _Files(file, maxBytes=LARGEST, backupCount=KEPT, encoding="utf-8", errors="replace")
        self._thread = threading.Thread(target=self._copy, name=f"log of {file.stem}", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until all is in the file; children of the process may keep the output open for longer."""
        self._thread.join(seconds)

    def _copy(self) -> None:
        with self._output, contextlib.closing(self._handler):
            while line := self._output.readline(LONGEST_LINE):
                text = line.decode(errors="replace").rstrip("\n")
                self._handler.emit(logging.LogRecord("", logging.INFO, "", 0, text, None, None))
