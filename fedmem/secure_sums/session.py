"""A session: what is public about one secure sum, and what its clients and server have to count."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fedmem.secure_sums.shamir import SHARE_BYTES

KEY_BYTES = 32
SEALED_BYTES = (
    2 * SHARE_BYTES + 12 + 16
)  # both shares for one neighbour, with nonce and tag of authenticated encryption

# Of a secret's holders: with two thirds a sum of clients who are all neighbours is of half of them at least, whatever
# a server says of who is gone, and with just more than half of two.
LEAST_SHARE = 0.66


@dataclass(frozen=True, eq=False)
class Session:
    """One secure sum, as the server announces it to those who take part.

    Attributes:
        purpose: what is added up; no two sessions of a run have the same purpose and number.
        number: of the round.
        neighbours: with whom each client shares masks, by client.
        public_keys: each client's, 32 bytes.
        threshold: how many of the shares that it and its neighbours hold take a client's mask off.
    """

    purpose: str
    number: int
    neighbours: Mapping[int, tuple[int, ...]]
    public_keys: Mapping[int, bytes]
    threshold: int

    @property
    def label(self) -> bytes:
        """What keys are derived for, so that those of one session are of no use in another."""
        return f"{self.purpose}/{self.number}".encode()

    @property
    def degree(self) -> int:
        """Neighbours of each client."""
        return len(next(iter(self.neighbours.values())))

    def holders(self, owner: int) -> tuple[int, ...]:
        """Tell who holds shares of a client's secrets: its neighbours, and the client.

        Its own spares it nothing when it is gone; when others are, it counts towards the threshold.
        """
        return (*self.neighbours[owner], owner)

    def point(self, owner: int, holder: int) -> int:
        """Tell at which point a holder's share of a client's secret was made."""
        return self.holders(owner).index(holder) + 1

    def bytes_up(self) -> int:
        """Count what a client sends besides the masked words: two public keys, sealed shares, revealed shares."""
        return 2 * KEY_BYTES + self.degree * SEALED_BYTES + (self.degree + 1) * SHARE_BYTES

    def bytes_down(self) -> int:
        """Count what it receives: its neighbours' public keys, their sealed shares, and who of them sent."""
        return self.degree * (2 * KEY_BYTES + SEALED_BYTES + 1)


def threshold_of(share: float, holders: int, clients: int) -> int:
    """Tell how many of a secret's holders a share is, and no fewer than ``least_threshold``."""
    return max(math.ceil(share * holders), least_threshold(holders, clients))


def least_threshold(holders: int, clients: int) -> int:
    """Tell how many shares have to be needed, so that a server that lies about who is gone reads no small part.

    Each holder reveals one of a client's two secrets, and lets h - t of its h be gone. Where all of n clients are
    neighbours, taking off the masks of one who is left out takes t answers of n (n - t), so that a sum is of
    n (2t - n) / t at least. Of a ring a part is cut off by h' = (h - 1) / 2 on either side, whose h' t shares those
    nearby reveal where d (3h' + 1 - d) >= h' t, with d = h - t.
    """
    least, half = math.ceil(LEAST_SHARE * holders), (holders - 1) // 2
    while clients > holders and (holders - least) * (3 * half + 1 - (holders - least)) >= half * least:
        least += 1
    return least


def sign(client: int, other: int) -> int:
    """Tell whether a client adds or subtracts the mask that it shares with another, who does the opposite."""
    return 1 if client < other else -1
