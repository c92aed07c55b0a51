"""What a secure sum is asked about, by which nodes know one again, and how they are told of which nodes it is."""

import hashlib
import json
from collections.abc import Iterable

from fedmem.nodes.letter import Letter

CHARACTERS = 32  # of a digest


def model_of(letter: Letter) -> str:
    """Digest the parameters that a letter carries."""
    digest = hashlib.sha256()
    for name in sorted(name for name in letter.arrays if name.startswith("parameters/")):
        array = letter.arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def questions_of(letter: Letter, model: str) -> list[str]:
    """Digest what a node is asked, in two ways: as this run's, and as what any run asks of the same users.

    Args:
        letter: that asks it to train or to evaluate.
        model: ``model_of`` the letter.
    """
    facts, clients = letter.facts, letter.arrays.get("clients")
    what = [facts["kind"], facts.get("split"), facts["round"]]
    asked = [*what, model, None if clients is None else clients.tolist()]
    return [_digest([*what, facts["run"]]), _digest(asked)]


def _digest(told: object) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:CHARACTERS]


def tags_of(names: Iterable[str]) -> list[str]:
    """Tell nodes of which nodes a sum is, by digests of their names."""
    return sorted(map(_digest, names))
