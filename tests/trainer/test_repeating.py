"""What is done beside a job that trains: the first look is waited for, and one that hangs delays nothing for long."""

import threading

from trainer import repeating
from trainer.repeating import Repeating


class Looking(Repeating):
    """Looks until it is let go."""

    def __init__(self, *, hangs: bool) -> None:
        super().__init__("looking", 0.01)
        self.go_on, self.looks = threading.Event(), 0
        if not hangs:
            self.go_on.set()

    def look(self) -> None:
        self.looks += 1
        self.go_on.wait()


def test_the_first_look_is_done_when_the_rest_begins():
    with Looking(hangs=False) as looking:
        assert looking.looks >= 1
    assert not looking._thread.is_alive()


def test_a_look_that_hangs_keeps_neither_start_nor_end_waiting(monkeypatch):
    monkeypatch.setattr(repeating, "START", 0.05)
    monkeypatch.setattr(repeating, "END", 0.05)
    with Looking(hangs=True) as looking:
        assert looking.looks == 1
    assert looking._thread.is_alive(), "the end has not waited for it"
    assert looking._thread.daemon
    looking.go_on.set()
    looking._thread.join()
