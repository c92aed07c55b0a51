"""Keeps what goes wrong with one thing from others, and says each cause once."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import Lock

from fedmem.errors import StorageError

LOG = logging.getLogger(__name__)


class Failures:
    """What could not be done at the last try, by what was tried and the model that it was tried for."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], str] = {}
        self._changing = Lock()

    @contextmanager
    def apart(self, what: str, version: str = "") -> Iterator[None]:
        """Note what ends this, for others are to go on; the database's failures, which are those of all, are raised."""
        try:
            yield
        except StorageError:
            raise
        except Exception as error:  # want of memory, a disk that cannot be read: whatever it is
            self._note((what, version), error)
        else:
            with self._changing:
                mended = self._found.pop((what, version), None) is not None
            if mended:
                LOG.info("%s: this is possible again", _subject(what, version))

    def keep(self, versions: Collection[str]) -> None:
        """Forget the troubles of models other than these, which are no longer there."""
        with self._changing:
            self._found = {key: said for key, said in self._found.items() if not key[1] or key[1] in versions}

    def sentences(self) -> tuple[str, ...]:
        """Say what cannot be done for now, and why."""
        with self._changing:
            return tuple(self._found.values())

    def _note(self, key: tuple[str, str], error: Exception) -> None:
        said = f"{_subject(*key)} is not possible for now ({type(error).__name__}: {error}); it is tried again"
        with self._changing:
            before, self._found[key] = self._found.get(key), said
        if before != said:
            LOG.error("%s", said, exc_info=error)


def _subject(what: str, version: str) -> str:
    return f"{what} of model {version}" if version else what
