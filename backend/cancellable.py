"""Long work in a thread, cancelled when its caller disconnects or the service ends."""

import asyncio
import threading
from collections.abc import Callable

from anyio import CancelScope
from anyio.to_thread import run_sync
from fastapi import Request, Response

from backend.errors import NotReadyError
from fedmem.interruption import heeding

GONE = 499  # nginx's status for it, which the log has; the caller reads no answer any more


class _Cancelled(Exception):
    """The caller is gone, or the service ends."""


async def run_until_disconnected(asked: Request, work: Callable[[], Response]) -> Response:
    """Wait for the turn of a batch and do its work, which ends at the next step that heeds a stop if none is to come.

    Raises:
        NotReadyError: if the service ends meanwhile.
    """
    state, unwanted = asked.app.state, threading.Event()
    with CancelScope() as scope:
        watching = asyncio.create_task(_watch(asked, unwanted, scope))
        try:
            async with state.batches:
                return await run_sync(_run, work, unwanted, limiter=state.computing)
        except _Cancelled:
            pass
        finally:
            watching.cancel()
    if state.ending.is_set():
        raise NotReadyError("the service is stopping: ask again, once it has started")
    return Response(status_code=GONE)


async def _watch(asked: Request, unwanted: threading.Event, scope: CancelScope) -> None:
    """Wait until the caller is gone or the service ends; tell the thread, and the request that waits for a turn."""
    ends = asyncio.create_task(asked.app.state.ending.wait()), asyncio.create_task(_gone(asked))
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in ends:
            one.cancel()
    unwanted.set()
    scope.cancel()


async def _gone(asked: Request) -> None:
    while (await asked.receive())["type"] != "http.disconnect":
        pass


def _run(work: Callable[[], Response], unwanted: threading.Event) -> Response:
    def go_on() -> None:
        if unwanted.is_set():
            raise _Cancelled

    with heeding(go_on):
        return work()
