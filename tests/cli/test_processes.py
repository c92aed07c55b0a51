"""Services that die: started again after pauses that grow, without end, unless their settings are wrong."""

from pathlib import Path

import pytest

from cli import processes
from cli.processes import CANNOT_START, PAUSES, STEADY, ServiceError, Services


class Process:
    """A child that has ended with this code, or runs."""

    def __init__(self, code=None):
        self.code = code

    def poll(self):
        return self.code


class Silence:
    """The log of a child that says nothing."""

    def wait(self, seconds):
        pass


@pytest.fixture
def world(monkeypatch, tmp_path: Path):
    """Services whose children are objects, with a clock by hand: ``world.now``, ``world.started``."""

    class World:
        now = 0.0
        services = Services(tmp_path)

        def wait(self, seconds):
            self.now += seconds
            self.services.check()

    world = World()
    world.started = []
    monkeypatch.setattr(
        processes, "_process", lambda *_: world.started.append(Process()) or (world.started[-1], Silence())
    )
    world.services.start("trainer")
    (service,) = world.services.running
    service.clock, service.started = lambda: world.now, 0.0
    return world


def test_a_service_that_dies_again_and_again_is_started_again_without_end(world):
    pauses = []
    for number in range(1, 12):
        world.started[-1].code = -9
        world.services.check()
        died = world.now
        while len(world.started) == number:
            world.wait(0.5)
        pauses.append(world.now - died)
    assert pauses[:7] == [1, 2, 4, 8, 16, 32, PAUSES[1]]
    assert pauses[7:] == [PAUSES[1]] * 4


def test_a_service_that_ran_for_long_is_started_again_at_once(world):
    for _ in range(5):
        world.started[-1].code = 1
        world.services.check()
        world.wait(PAUSES[1])
    world.wait(STEADY + 1)
    count = len(world.started)
    world.started[-1].code = 1
    world.services.check()
    world.wait(PAUSES[0])
    assert len(world.started) == count + 1


def test_wrong_settings_end_all_at_the_first_start_alone(world):
    world.started[-1].code = -9
    world.services.check()
    world.wait(PAUSES[0])
    world.started[-1].code = CANNOT_START  # the database was away for a moment, say
    world.services.check()
    world.wait(PAUSES[1])
    assert len(world.started) == 3
    world.services.start("backend")
    world.started[-1].code = CANNOT_START
    with pytest.raises(ServiceError, match="backend has ended with exit code 2"):
        world.services.check()
