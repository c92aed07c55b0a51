"""Work that asks nothing meanwhile, done so that a job can end or wait before it is done."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from typing import TypeVar

from fedmem.interruption import heeding

T = TypeVar("T")

LOOK = 0.2  # seconds from one look whether to go on to the next
ABANDONED = "abandoned"  # the name of a thread whose result is not waited for


class InterruptedJobError(Exception):
    """The user or the supervisor wants the job to end, or to wait."""


def run_abandonable(work: Callable[[], T], go_on: Callable[[], None]) -> T:
    """Do work in a thread of its own; it is abandoned where ``go_on`` raises, and ends where it next heeds that.

    Args:
        work: what loads, downloads or reads; it writes nothing of a job, which another trainer may have by then.
        go_on: raises where the job is to end or to wait; it is asked in both threads.
    """
    done: Future[T] = Future()
    thread = threading.Thread(target=copy_context().run, args=(_do, work, go_on, done), name="aside", daemon=True)
    thread.start()
    try:
        while not wait([done], LOOK).done:
            go_on()
    except BaseException:
        thread.name = ABANDONED
        raise
    return done.result()


def _do(work: Callable[[], T], go_on: Callable[[], None], done: Future[T]) -> None:
    try:
        with heeding(go_on):
            done.set_result(work())
    except BaseException as error:  # raised again where it is waited for
        done.set_exception(error)


def end_with_abandoned() -> None:
    """End the process here, with 0, if work was abandoned that goes on.

    At the end of the interpreter a thread that is inside a library's C++ would end the process by SIGABRT.
    """
    if any(thread.name == ABANDONED for thread in threading.enumerate()):
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)
