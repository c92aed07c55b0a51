"""How many requests may do something at a time, in all and from one address; one over the limit is refused at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from backend.errors import NotReadyError


class ConcurrencyLimit:
    """Places for what keeps a connection for long, so that neither all connections nor all places are one caller's.

    Attributes:
        what: they do, as a refusal names it.
        limit: in all.
        limit_per_address: of one client address.
        taken: by address.
    """

    def __init__(self, what: str, limit: int, limit_per_address: int) -> None:
        self.what = what
        self.limit = limit
        self.limit_per_address = max(1, limit_per_address)
        self.taken: Counter[str] = Counter()

    @contextmanager
    def slot(self, address: str) -> Iterator[None]:
        """Take a place, until the block ends.

        Raises:
            NotReadyError: if there is none in all, or none for the address.
        """
        if self.taken.total() >= self.limit:
            raise NotReadyError(f"{self.limit} {self.what}, the most at a time; ask again later")
        if self.taken[address] >= self.limit_per_address:
            raise NotReadyError(
                f"{self.limit_per_address} {self.what} of your address, the most at a time; ask again later"
            )
        self.taken[address] += 1
        try:
            yield
        finally:
            self.taken[address] -= 1
            if not self.taken[address]:
                del self.taken[address]
