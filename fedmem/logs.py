"""The log of every service: a JSON object a line on stderr or, where that is a terminal, a line for its reader."""

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Any

from fedmem.said_once import SaidOnce

EXTRA = "fields"  # logger.info("..", extra={EXTRA: {..}}): what is logged with the message
EXCEPTION = "exception"  # a traceback, in the same line
OURS = ("backend", "cli", "dashboard", "fedmem", "trainer", "web")  # which tell what they do; libraries only warn
LONGEST_LINE = 32 * 2**10  # bytes
LONGEST_TEXT = 2000  # characters of a message or traceback whose line is longer

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # by which a text could steer a terminal

_LOG = logging.getLogger(__name__)
_about: ContextVar[Mapping[str, Any]] = ContextVar("about", default=MappingProxyType({}))


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Add fields to all that is logged meanwhile in this context, but for those that are None.

    They are ``job``, ``dataset`` and ``request_id``: a line is found by them, whatever module has written it.
    """
    known = {name: value for name, value in fields.items() if value is not None}
    token = _about.set({**_about.get(), **known})
    try:
        yield
    finally:
        _about.reset(token)


class _Lines(logging.Formatter):
    """What both forms of a line have in common.

    Args:
        service: which writes.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Collect what a line has besides its message."""
        found = {**_about.get(), **getattr(record, EXTRA, {})}
        if record.exc_info:
            found[EXCEPTION] = self.formatException(record.exc_info)
        return found


class JsonLines(_Lines):
    """A record as one JSON object; a traceback stays within its line, and a line within its bound."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self.service,
            "logger": record.name,
            "message": record.getMessage(),
            **self.fields(record),
        }
        text = json.dumps(line, default=str)
        return text if len(text) <= LONGEST_LINE else json.dumps({name: _cut(line[name]) for name in line}, default=str)


class PlainLines(_Lines):
    """A record as a line for a reader, and its traceback below it; what would steer the terminal is a question mark."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the line."""
        fields = self.fields(record)
        trace = fields.pop(EXCEPTION, None)
        time = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        more = "".join(f" {name}={value}" for name, value in fields.items())
        said = record.getMessage().replace("\n", "\n  ")  # no message looks like the next line of the log
        line = f"{time} {record.levelname} {said}{more}"
        return _CONTROL.sub("?", line if trace is None else f"{line}\n{trace}")


class _ToStderr(logging.StreamHandler[Any]):
    """The one handler of a service."""


def log_to_stderr(service: str, once: SaidOnce | None = None) -> None:
    """Be a service whose log is its stderr: what it says, what libraries warn of, and errors that nothing catches.

    Args:
        service: the name in each line.
        once: keeps what comes again and again from filling the disk.
    """
    handler = _ToStderr()
    handler.setFormatter(PlainLines(service) if sys.stderr.isatty() else JsonLines(service))
    handler.addFilter(once or SaidOnce())
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, _ToStderr)] + [handler]
    for name in OURS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    sys.excepthook = lambda *ended: _uncaught("the process ends by an error", *ended)
    threading.excepthook = lambda ended: _uncaught("a thread ends by an error", *ended[:3])


def logs_as_json() -> bool:
    """Say whether this process is a service whose lines programs read."""
    handlers = logging.getLogger().handlers
    return any(isinstance(one, _ToStderr) and isinstance(one.formatter, JsonLines) for one in handlers)


def _uncaught(said: str, kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Log what nothing has caught; Ctrl-C is no error."""
    if not issubclass(kind, (KeyboardInterrupt, SystemExit)):
        _LOG.critical(said, exc_info=(kind, error or kind(), trace))


def _cut(value: object) -> object:
    """Shorten a long text to its beginning and its end, where a traceback has its error."""
    half = LONGEST_TEXT // 2
    return f"{value[:half]} [..] {value[-half:]}" if isinstance(value, str) and len(value) > LONGEST_TEXT else value
