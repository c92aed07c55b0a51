"""How often one client may ask: a bucket of tokens that fills evenly."""

import time
from collections.abc import Callable

SWEEP_AT = 10_000  # clients


class RateLimit:
    """So many requests a minute of each client address, at once or spread. Counted in this process alone.

    A request that turns out to be as much work as several is charged for them afterwards: who has spent more than there
    was waits until it has filled up again.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self.clock = clock
        self._sweep_at = SWEEP_AT
        self._buckets: dict[str, tuple[float, float]] = {}  # client -> (tokens, when counted)

    def take(self, client: str) -> float:
        """Return 0 if the client may ask now, else the seconds until it may."""
        now = self.clock()
        tokens = self._tokens(client, now)
        if tokens < 1:
            self._buckets[client] = (tokens, now)
            return (1 - tokens) * 60 / self.per_minute
        self._buckets[client] = (tokens - 1, now)
        if len(self._buckets) > self._sweep_at:
            self._sweep(now)
        return 0.0

    def charge(self, client: str, more: float) -> None:
        """Take more for a request that was let through, and is as much work as several."""
        now = self.clock()
        self._buckets[client] = (self._tokens(client, now) - more, now)

    def _tokens(self, client: str, now: float) -> float:
        tokens, counted = self._buckets.get(client, (float(self.per_minute), now))
        return min(float(self.per_minute), tokens + (now - counted) * self.per_minute / 60)

    def _sweep(self, now: float) -> None:
        """Forget clients whose bucket is full again: they are as if they had never asked.

        The next time when there are twice as many as stay, so that a request costs the same however many clients ask.
        """
        counted = list(self._buckets.items())  # at once: a thread may charge a client meanwhile
        self._buckets = {client: bucket for client, bucket in counted if self._tokens(client, now) < self.per_minute}
        self._sweep_at = max(SWEEP_AT, 2 * len(self._buckets))
