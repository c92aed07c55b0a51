import threading

import pytest

from fedmem.interruption import heed
from tests.waiting import PATIENCE, until
from trainer.abandonable import ABANDONED, InterruptedJobError, run_abandonable


def test_what_work_returns_and_raises_is_the_callers():
    assert run_abandonable(lambda: 7, lambda: None) == 7
    with pytest.raises(KeyError, match="lost"):
        run_abandonable(lambda: {}["lost"], lambda: None)


def test_work_that_is_not_waited_for_ends_at_its_next_step():
    abandoned, ended = threading.Event(), []

    def work():
        abandoned.wait(PATIENCE)
        try:
            heed()
        finally:
            ended.append(threading.current_thread().name)

    def go_on():
        raise InterruptedJobError

    with pytest.raises(InterruptedJobError):
        run_abandonable(work, go_on)
    assert not ended
    abandoned.set()
    until(lambda: ended, "the end of the thread")
    assert ended == [ABANDONED]
