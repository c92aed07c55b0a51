"""How many requests may be at something at a time, in all and of one address; who finds no place is told so at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from backend.errors import NotReadyError


class ConcurrencyLimit:
    """Places for what keeps a connection for long, so that neither all connections nor all places are one caller's.

    Attributes:
        what: is at them, as a refusal names it.
        most: in all.
        of_one: of one client address.
        taken: by address.
    """

    def __init__(self, what: str, most: int, of_one: int) -> None:
        self.what = what
        self.most = most
        self.of_one = max(1, of_one)
        self.taken: Counter[str] = Counter()

    @contextmanager
    def one(self, address: str) -> Iterator[None]:
        """Take a place, until the block ends.

        Raises:
            NotReadyError: if there is none in all, or none for the address.
        """
        if self.taken.total() >= self.most:
            raise NotReadyError(f"{self.most} {self.what}, which is as many as may; ask again later")
        if self.taken[address] >= self.of_one:
            raise NotReadyError(f"{self.of_one} {self.what} of your address, which is as many as may; ask again later")
        self.taken[address] += 1
        try:
            yield
        finally:
            self.taken[address] -= 1
            if not self.taken[address]:
                del self.taken[address]
