"""Since when leases stand unchanged, by a clock that cannot be set."""

from collections.abc import Callable, Sequence

from fedmem.storage.leases import Held


class Silence:
    """Remembers leases from one look to the next.

    Args:
        monotonic: tells seconds that no setting of a clock changes.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since: dict[Held, float] = {}

    def of(self, held: Sequence[Held], seconds: float) -> list[Held]:
        """Return those of the leases that were seen for so many seconds; a renewal makes another lease of one."""
        now = self._monotonic()
        self._since = {lease: self._since.get(lease, now) for lease in held}
        return [lease for lease, since in self._since.items() if now - since > seconds]
