"""How often one client may ask of all backends of a database together."""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from threading import Lock

from web.rate_limit import RateLimit

Spent = Mapping[str, float]  # requests by client
# Told what was spent here, it returns how many backends there are, and what the others have spent.
Exchange = Callable[[Spent], tuple[int, Spent]]


class SharedRateLimit(RateLimit):
    """Buckets of which each backend knows all that was spent until a moment ago, and spends its share of the rest.

    A request waits for no other backend: they tell each other now and then. What one has spent and the others may not
    have heard of is never more than its n-th of what there was, so that all of them together spend no more than one
    would. A client that keeps to one backend gets a share of what is left again after each exchange.
    """

    def __init__(self, per_minute: int, secret: str) -> None:
        """Count by a digest of the client's address, which lies in the database for a minute: none reads it there.

        Args:
            per_minute: requests of one client.
            secret: what all backends have and the database has not.
        """
        super().__init__(per_minute)
        self.backends = 1
        self._secret = blake2b(secret.encode()).digest()
        self._lock = Lock()  # exchanges are a thread's
        self._told: Spent = {}  # at the last exchange, which the others may not have heard of yet
        self._untold: dict[str, float] = {}

    def take(self, client: str) -> float:
        """Return 0 if the client may ask now, else the seconds until it may, at most."""
        client = self._digest(client)
        with self._lock:
            missing = 1 - self._share(client)
            if self.backends > 1 and missing > 0:
                return missing * self.backends * 60 / self.per_minute
            wait = super().take(client)
            self._note(client, 0 if wait else 1)
            return wait

    def charge(self, client: str, more: float) -> None:
        """Take more for a request that was let through, and is as much work as several."""
        client = self._digest(client)
        with self._lock:
            super().charge(client, more)
            self._note(client, more)

    def exchange(self, tell: Exchange) -> None:
        """Tell the others what was spent here, and count what they have; if that fails, all stays as it is."""
        with self._lock:
            telling = dict(self._untold)
        self.backends, theirs = tell(telling)
        with self._lock:
            since = {client: spent - telling.get(client, 0) for client, spent in self._untold.items()}
            self._told, self._untold = telling, {client: spent for client, spent in since.items() if spent}
            for client, spent in theirs.items():
                super().charge(client, spent)

    def _share(self, client: str) -> float:
        """Return what this backend may spend of a client's tokens before it has heard of the others."""
        tokens = self._tokens(client, self.clock())
        spent = self._told.get(client, 0) + self._untold.get(client, 0)
        share = (tokens + spent) / self.backends - spent
        return share if spent else max(share, min(tokens, 1))  # or a low limit would let nothing through

    def _note(self, client: str, spent: float) -> None:
        if self.backends > 1 and spent:
            self._untold[client] = self._untold.get(client, 0) + spent

    def _sweep(self, now: float) -> None:
        super()._sweep(now)
        self._untold = {client: spent for client, spent in self._untold.items() if client in self._buckets}

    def _digest(self, client: str) -> str:
        return blake2b(client.encode(), key=self._secret, digest_size=12).hexdigest()
