"""How a job waits for room on the disk: longer each time in a row, heeding a stop meanwhile."""

import logging

import pytest

from fedmem.errors import DiskFullError
from trainer import disk_wait
from trainer.disk_wait import DiskSpaceWait

FULL = DiskFullError("x: cannot be written (No space left on device)")


@pytest.fixture
def waits(monkeypatch):
    """Seconds that were waited for, on a clock that waiting alone moves."""
    now, found = [0.0], []

    class Time:
        """In the place of the module there: event loops of this process go by the module's own clock."""

        monotonic = staticmethod(lambda: now[0])
        sleep = staticmethod(lambda seconds: now.__setitem__(0, now[0] + seconds))

    monkeypatch.setattr(disk_wait, "time", Time)

    def wait(place, **given):
        began = now[0]
        place.wait(FULL, **given)
        found.append(round(now[0] - began, 6))
        return found

    return wait


def test_each_wait_in_a_row_is_longer_up_to_the_longest_and_progress_begins_anew(waits, caplog):
    caplog.set_level(logging.WARNING)
    place = DiskSpaceWait(lambda: None)
    for _ in range(7):
        found = waits(place, progress=False)
    assert found == [1, 2, 4, 8, 16, 30, 30]
    assert waits(place, progress=True)[-1] == 1
    assert len(caplog.messages) == 2
    assert "No space left" in caplog.messages[0]


def test_a_stop_is_heeded_meanwhile():
    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        DiskSpaceWait(stop).wait(FULL, progress=False)
