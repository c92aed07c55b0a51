"""What is done every so many seconds beside a job that trains, in a thread of its own."""

import threading
from types import TracebackType
from typing import Self


class Repeating:
    """Looks at once and then again and again, as its subclasses say.

    Args:
        name: of the thread.
        seconds: from one look to the next.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self.look()
        self._ended.clear()
        self._thread = threading.Thread(target=self._keep_looking, name=self._name, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def look(self) -> None:
        """Do it once; raises nothing."""
        raise NotImplementedError

    def _keep_looking(self) -> None:
        while not self._ended.wait(self._seconds):
            self.look()
