"""MaskedSession: one secure sum over nodes, as the server knows it, and what each node is told of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedmem.config import ExperimentConfig
from fedmem.nodes.letter import Letter
from fedmem.nodes.questions import tags_of
from fedmem.randomness import numpy_generator
from fedmem.secure_sums.graph import neighbours
from fedmem.secure_sums.keys import agreement
from fedmem.secure_sums.session import KEY_BYTES, SEALED_BYTES, Session, threshold_of
from fedmem.secure_sums.shamir import PRIME

Keys = tuple[bytes, bytes]  # of masks, and of what is sealed


@dataclass(frozen=True)
class Announced:
    """What a node answers before a session begins.

    Attributes:
        keys: its public keys.
        least: of how many nodes its owner wants the sum at least.
        before: of which nodes, by their tags, the sum was when it was read before, if it was.
    """

    keys: Keys
    least: int
    before: frozenset[str]

    @classmethod
    def of(cls, letter: Letter) -> "Announced":
        """Read it; ``ValueError`` if others could agree on nothing with a key, and all would be lost."""
        mask, sealing = (bytes.fromhex(key) for key in letter.facts["keys"])
        for key in (mask, sealing):
            agreement(bytes(range(KEY_BYTES)), b"a key is one")(key)
        return cls((mask, sealing), int(letter.facts["least"]), frozenset(map(str, letter.facts["before"])))


@dataclass(frozen=True, eq=False)
class MaskedSession:
    """A session of nodes, which are numbered.

    Attributes:
        session: what is public.
        keys: each node's public keys.
        names: how the nodes are called.
        cohort: users of all of them.
        least: of how many nodes the owner of each wants the sum at least.
        sealed: by who wrote, by who reads: shares that the server cannot open.
        num_bytes: what the nodes have sent until their shares were there.
    """

    session: Session
    keys: Mapping[int, Keys]
    names: Mapping[int, str] = field(default_factory=dict)
    cohort: int = 0
    least: Mapping[str, int] = field(default_factory=dict)
    sealed: Mapping[int, Mapping[int, str]] = field(default_factory=dict)
    num_bytes: int = 0

    @classmethod
    def drawn(cls, config: ExperimentConfig, label: str, number: int, keys: Mapping[int, Keys]) -> "MaskedSession":
        """Draw who shares masks with whom, on which no result depends."""
        rng = numpy_generator(config.seed, f"neighbours in {label}", number)
        graph = neighbours(sorted(keys), config.secure_sums.neighbours, rng)
        threshold = threshold_of(config.secure_sums.threshold, len(graph[min(keys)]) + 1, len(keys))
        public = {one: mask for one, (mask, _) in keys.items()}
        return cls(Session(label, number, graph, public, threshold), keys)

    def told(self, one: int) -> dict[str, Any]:
        """Tell a node with whom it shares masks, and how large the sum is."""
        others = self.session.neighbours[one]
        return {
            "session": self.session.purpose,
            "nodes": len(self.keys),
            "cohort": self.cohort,
            "threshold": self.session.threshold,
            "neighbours": list(others),
            "keys": {str(each): [key.hex() for key in self.keys[each]] for each in (one, *others)},
        }

    def sealed_by(self, one: int, letter: Letter) -> dict[int, str]:
        """Read what a node sealed for its neighbours; ``ValueError`` if it is not for all of them."""
        sealed = {int(each): str(content) for each, content in letter.facts["sealed"].items()}
        if sealed.keys() != set(self.session.neighbours[one]) or {len(x) for x in sealed.values()} != {
            2 * SEALED_BYTES
        }:
            raise ValueError("it gives no share to each of its neighbours")
        return sealed

    def for_masking(self, one: int) -> dict[str, Any]:
        """Hand a node what its neighbours sealed for it."""
        others = self.session.neighbours[one]
        return {"session": self.session.purpose, "sealed": {str(each): self.sealed[each][one] for each in others}}

    def question(self, one: int, survivors: frozenset[int]) -> dict[str, Any]:
        """Ask a node for shares: which of those whose shares it holds have arrived, and of which nodes the sum is."""
        known = survivors.intersection(self.session.holders(one))
        of = tags_of(self.names[each] for each in survivors)
        return {"session": self.session.purpose, "survivors": sorted(known), "of": of}

    def unwilling(self, counted: Collection[str]) -> list[str]:
        """Name those of some nodes whose owners want a sum of more nodes than these."""
        return [name for name in counted if self.least[name] > len(counted)]

    def revealed_by(self, name: str, letter: Letter) -> dict[int, int]:
        """Read the shares that a node reveals; ``ValueError`` if they are not of all who gave it one."""
        one = next(number for number, each in self.names.items() if each == name)
        shares = {int(owner): int(share, 16) for owner, share in letter.facts["shares"].items()}
        if shares.keys() != set(self.session.holders(one)) or not all(0 <= share < PRIME for share in shares.values()):
            raise ValueError("it reveals other shares than it holds")
        return shares
