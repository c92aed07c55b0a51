"""Log lines as JSON objects on stderr: a line a request, and whatever else the backend has to say, once."""

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

ACCESS = logging.getLogger("backend.access")
EXTRA = "fields"  # logger.info("..", extra={EXTRA: {..}}): what is logged with the message
LOGGERS = (
    ("backend", logging.INFO),
    ("fedmem", logging.INFO),
    ("uvicorn", logging.WARNING),
    ("asyncio", logging.WARNING),
)
SILENCE = 60.0  # seconds for which the same is not said again
REMEMBERED = 1000
REFUSED = (401, 403, 408, 413, 429)


class JsonLines(logging.Formatter):
    """A record as one JSON object; a traceback stays within its line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, EXTRA, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class SaidOnce(logging.Filter):
    """Lets the same warning, error or refused request through once a minute; the next one tells how many were left out.

    What a caller can cause as often as it likes must not fill the disk. Answers are logged one by one, however many.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.clock = clock
        self._said: dict[tuple[object, ...], tuple[float, int]] = {}  # when, and how many were left out since

    def filter(self, record: logging.LogRecord) -> bool:
        fields = getattr(record, EXTRA, {})
        if record.levelno < logging.WARNING and fields.get("status") not in REFUSED:
            return True
        kind = record.exc_info[0] if record.exc_info else None
        same = (record.name, record.msg, kind, fields.get("route"), fields.get("status"))
        now = self.clock()
        said, left_out = self._said.get(same, (now - SILENCE, 0))
        if now - said < SILENCE:
            self._said[same] = said, left_out + 1
            return False
        if len(self._said) >= REMEMBERED:
            self._said.clear()
        self._said[same] = now, 0
        if left_out:
            setattr(record, EXTRA, fields | {"left_out_before": left_out})
        return True


def log_to_stderr() -> None:
    """Let the backend's, the core's and the server's log lines through to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    handler.addFilter(SaidOnce())
    for name, level in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
