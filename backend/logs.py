"""Log lines as JSON objects on stderr: a line a request, and whatever else the backend has to say."""

import json
import logging
from datetime import UTC, datetime

ACCESS = logging.getLogger("backend.access")
EXTRA = "fields"  # logger.info("..", extra={EXTRA: {..}}): what is logged with the message


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


def log_to_stderr() -> None:
    """Let the backend's, the core's and the server's log lines through to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    for name, level in (("backend", logging.INFO), ("fedmem", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
