"""What comes again and again is said once a minute."""

import logging

from fedmem.said_once import REMEMBERED, SILENCE, SaidOnce


def test_the_same_warning_is_said_once_a_minute_and_counted(caplog):
    now, logger = [0.0], logging.getLogger("tests.said_once")
    caplog.handler.addFilter(once := SaidOnce(lambda: now[0]))
    try:
        for _ in range(5):
            logger.warning("waiting for %s", "the disk")
            logger.info("round")
        logger.warning("waiting for %s", "the database")
        now[0] += SILENCE
        logger.warning("waiting for %s", "the disk")
        logger.warning("waiting for %s", "the database")
    finally:
        caplog.handler.removeFilter(once)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        "waiting for the disk", "waiting for the database", "waiting for the disk (left out before: 4)",
        "waiting for the database",
    ]  # fmt: skip


def test_what_is_remembered_is_bounded():
    once = SaidOnce()
    for number in range(3 * REMEMBERED):
        assert once.filter(logging.LogRecord("x", logging.WARNING, "", 0, "%d", (number,), None))
    assert len(once._said) <= REMEMBERED
