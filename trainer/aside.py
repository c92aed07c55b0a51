"""Work that asks nothing meanwhile, done so that a job can end or wait before it is done."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

LOOK = 0.2  # seconds from one look whether to go on to the next


class InterruptedJobError(Exception):
    """The user or the supervisor wants the job to end, or to wait."""


def aside(work: Callable[[], T], go_on: Callable[[], None]) -> T:
    """Do work in a thread of its own, which is left to itself where ``go_on`` raises, as the job is to end."""
    with closing_without_waiting(ThreadPoolExecutor(1, thread_name_prefix="aside")) as thread:
        done = thread.submit(work)
        while not wait([done], LOOK).done:
            go_on()
        return done.result()


@contextmanager
def closing_without_waiting(thread: ThreadPoolExecutor) -> Iterator[ThreadPoolExecutor]:
    """Close a thread's queue at the end, and let it finish what it does by itself."""
    try:
        yield thread
    finally:
        thread.shutdown(wait=False)
