"""Log lines as JSON objects on stderr: a line a request, and whatever else the backend has to say, once."""

import json
import logging
from collections.abc import Hashable
from datetime import UTC, datetime

from fedmem.said_once import SaidOnce

ACCESS = logging.getLogger("backend.access")
EXTRA = "fields"  # logger.info("..", extra={EXTRA: {..}}): what is logged with the message
LOGGERS = (
    ("backend", logging.INFO),
    ("fedmem", logging.INFO),
    ("uvicorn", logging.WARNING),
    ("asyncio", logging.WARNING),
)
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


class SaidToCallers(SaidOnce):
    """Counts as the same what a caller can cause as often as it likes, refused requests too: it must not fill the disk.

    Answers are logged one by one, however many.
    """

    def same(self, record: logging.LogRecord) -> Hashable | None:
        """Return what equal records have in common, whatever they name."""
        fields = getattr(record, EXTRA, {})
        if record.levelno < logging.WARNING and fields.get("status") not in REFUSED:
            return None
        kind = record.exc_info[0] if record.exc_info else None
        return record.name, record.msg, kind, fields.get("route"), fields.get("status")

    def tell(self, record: logging.LogRecord, left_out: int) -> None:
        """Add to a record how many like it were left out before."""
        setattr(record, EXTRA, getattr(record, EXTRA, {}) | {"left_out_before": left_out})


def log_to_stderr() -> None:
    """Let the backend's, the core's and the server's log lines through to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    handler.addFilter(SaidToCallers())
    for name, level in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
