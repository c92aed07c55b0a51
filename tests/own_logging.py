"""Logging as it was, after what makes this process a service."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fedmem.logs import OURS


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Give loggers their handlers and levels back, and errors that nothing catches those who see them."""
    loggers = [logging.getLogger(name) for name in (None, *OURS)]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    hooks = sys.excepthook, threading.excepthook
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        sys.excepthook, threading.excepthook = hooks
        for logger, handlers, level, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


@pytest.fixture
def own_logging() -> Iterator[None]:
    """Give logging back after the test."""
    with logging_as_before():
        yield
