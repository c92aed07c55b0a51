"""What is done every so many seconds beside a job that trains, in a thread of its own."""

import threading
from types import TracebackType
from typing import Self

START, END = 5.0, 10.0  # seconds that the start and the end wait for a look; one that hangs ends with the process


class Repeating:
    """Looks at once and then again and again, as its subclasses say. Neither start nor end waits long for a look.

    Args:
        name: of the thread.
        seconds: from one look to the next.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._looked, self._ended = threading.Event(), threading.Event()

    def __enter__(self) -> Self:
        self._looked.clear()
        self._ended.clear()
        self._thread = threading.Thread(target=self._keep_looking, name=self._name, daemon=True)
        self._thread.start()
        self._looked.wait(START)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(END)

    def look(self) -> None:
        """Do it once; raises nothing."""
        raise NotImplementedError

    def _keep_looking(self) -> None:
        self.look()
        self._looked.set()
        while not self._ended.wait(self._seconds):
            self.look()
