"""A client's part in a secure sum: its secrets, the masks it adds, the shares it gives and holds."""

import functools
from collections.abc import Mapping, MutableMapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedmem.secure_sums.keys import agreement, public_key
from fedmem.secure_sums.masks import SEED_BYTES, add_mask
from fedmem.secure_sums.session import KEY_BYTES, Session, sign
from fedmem.secure_sums.shamir import split

Pair = tuple[int, int]
Secrets = tuple[bytes, bytes]
Words = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Shares:
    """What a client gives a neighbour to hold: a share of its private key, and one of its own mask's seed."""

    key: int
    seed: int


class Draws(Protocol):
    """Draws secrets: a generator in the simulation, the operating system on a device."""

    def bytes(self, length: int, /) -> bytes:
        """Draw so many bytes."""
        ...


class MaskingClient:
    """One client in one session.

    Args:
        client: its number.
        rng: draws its secrets; the simulation's stands in for the operating system's randomness.
        secrets: the private key and the own mask's seed, where they were drawn before.
    """

    def __init__(self, client: int, rng: Draws, secrets: Secrets | None = None) -> None:
        self.client = client
        self._private_key, self._seed = secrets or (rng.bytes(KEY_BYTES), rng.bytes(SEED_BYTES))
        self._rng = rng
        self._held: dict[int, Shares] = {}
        self._answered: frozenset[int] | None = None

    @functools.cached_property
    def public_key(self) -> bytes:
        """What it publishes."""
        return public_key(self._private_key)

    def mask(
        self,
        session: Session,
        lanes: Sequence[Words],
        agreed: MutableMapping[Pair, bytes] | None = None,
        together: Set[int] = frozenset(),
    ) -> None:
        """Mask words in place: with the own mask, and with those shared with neighbours, which cancel in the sum.

        Args:
            session: the session.
            lanes: the words.
            agreed: seeds by pairs of clients, which spare the simulation to have both of a pair work theirs out.
            together: clients whose words are among these already, of which all mask them: what two of them share would
                come and go.
        """
        add_mask(lanes, self._seed, 1)
        seed_with = agreement(self._private_key, session.label)
        known = {} if agreed is None else agreed
        for other in session.neighbours[self.client]:
            if other in together:
                continue
            pair = min(self.client, other), max(self.client, other)
            if pair not in known:
                known[pair] = seed_with(session.public_keys[other])
            add_mask(lanes, known[pair], sign(self.client, other))

    def shares(self, session: Session) -> dict[int, Shares]:
        """Share both secrets among those who hold them, by holder; any ``session.threshold`` of them suffice."""
        holders = session.holders(self.client)
        points = range(1, len(holders) + 1)
        made = [split(int.from_bytes(s), points, self._coefficients(session)) for s in (self._private_key, self._seed)]
        return {holder: Shares(*both) for holder, both in zip(holders, zip(*made, strict=True), strict=True)}

    def _coefficients(self, session: Session) -> list[int]:
        drawn = self._rng.bytes(32 * (session.threshold - 1))
        return [int.from_bytes(drawn[first : first + 32]) for first in range(0, len(drawn), 32)]

    def hold(self, owner: int, shares: Shares) -> None:
        """Keep what a neighbour gave, or this client itself."""
        self._held[owner] = shares

    def reveal(self, survivors: Set[int]) -> dict[int, int]:
        """Reveal, of every neighbour, the share of its seed if its words arrived, else that of its private key.

        Never both: together they would take all masks off what that neighbour sent, so that a second question with
        other survivors is not answered.
        """
        asked = frozenset(survivors)
        assert self._answered in (None, asked), "a client answers one list of survivors"
        self._answered = asked
        return {owner: held.seed if owner in asked else held.key for owner, held in self._held.items()}

    def to_json(self, *, secrets: bool = True) -> dict[str, Any]:
        """Write what the client has to know until the session ends, for a file that it alone can read.

        Args:
            secrets: whether it has yet to mask, for which alone it needs its own.
        """
        return {
            "client": self.client,
            "secrets": [self._private_key.hex(), self._seed.hex()] if secrets else None,
            "held": {str(owner): [hex(held.key), hex(held.seed)] for owner, held in self._held.items()},
            "answered": None if self._answered is None else sorted(self._answered),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any], rng: Draws) -> "MaskingClient":
        """Read what ``to_json`` wrote."""
        key, seed = map(bytes.fromhex, told["secrets"] or ("", ""))
        made = cls(told["client"], rng, (key, seed))
        made._held = {int(owner): Shares(*(int(x, 16) for x in held)) for owner, held in told["held"].items()}
        made._answered = None if told["answered"] is None else frozenset(told["answered"])
        return made
