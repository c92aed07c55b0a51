"""The server's part in a secure sum: it announces a session, and takes the masks off the sum of what arrived."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.errors import TrainingError
from fedmem.secure_sums.keys import agreement
from fedmem.secure_sums.masks import SEED_BYTES, add_mask
from fedmem.secure_sums.session import KEY_BYTES, Session, sign
from fedmem.secure_sums.shamir import combine

Words = npt.NDArray[np.unsignedinteger[Any]]
Revealed = Mapping[int, Mapping[int, int]]  # by who reveals, by whose secret: a share


def unmask(session: Session, lanes: Sequence[Words], survivors: Set[int], revealed: Revealed) -> None:
    """Take all masks off the sum of what the survivors sent, in place.

    Args:
        session: the session.
        lanes: the sum of their masked words.
        survivors: whose words arrived.
        revealed: the shares that survivors revealed.

    Raises:
        TrainingError: if too few who hold shares of a client's masks are left to take them off.
    """
    for client in session.neighbours:
        if client in survivors:
            seed = _secret(session, client, revealed).to_bytes(SEED_BYTES)
            add_mask(lanes, seed, -1)
        else:
            _take_off_shared(session, client, lanes, survivors, revealed)


def _take_off_shared(
    session: Session, dropped: int, lanes: Sequence[Words], survivors: Set[int], revealed: Revealed
) -> None:
    """Take off what the neighbours of a client that dropped out have masked for it alone."""
    left = [other for other in session.neighbours[dropped] if other in survivors]
    if not left:
        return
    seed_with = agreement(_secret(session, dropped, revealed).to_bytes(KEY_BYTES), session.label)
    for other in left:
        add_mask(lanes, seed_with(session.public_keys[other]), -sign(other, dropped))


def _secret(session: Session, owner: int, revealed: Revealed) -> int:
    holders = [other for other in session.holders(owner) if other in revealed]
    if len(holders) < session.threshold:
        raise TrainingError(
            f"the secure sum of {session.purpose}, round {session.number}, cannot be read: {len(holders)} of the "
            f"{session.degree + 1} who hold shares of a client's masks are left, and {session.threshold} are needed to "
            "take them off. Repeat the round."
        )
    return combine({session.point(owner, holder): revealed[holder][owner] for holder in holders[: session.threshold]})
