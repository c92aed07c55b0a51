"""A server that tells each client something else of who is gone: what it can read, by linear programming."""

from collections.abc import Collection, Mapping

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp


def lies(
    neighbours: Mapping[int, Collection[int]], threshold: int, left_out: Collection[int]
) -> dict[int, frozenset[int]] | None:
    """Find of whom each client has to be told that they are gone, so that these clients' keys are revealed.

    Each reveals the key of those who are told to be gone, and answers only where as many of those whose shares it holds
    as the threshold are left, itself among them. None if that cannot be.
    """
    pairs = [(owner, holder) for owner in sorted(left_out) for holder in neighbours[owner]]
    owners, holders = (np.array(column) for column in zip(*pairs, strict=True))
    enough = np.array([owners == owner for owner in sorted(left_out)], float)
    told = np.array([holders == holder for holder in np.unique(holders)], float)
    most = len(next(iter(neighbours.values()))) + 1 - threshold
    rules = LinearConstraint(enough, lb=threshold), LinearConstraint(told, ub=most)
    found = milp(np.zeros(len(pairs)), constraints=rules, bounds=Bounds(0, 1), integrality=np.ones(len(pairs)))
    if found.x is None:
        return None
    gone = [pair for pair, one in zip(pairs, found.x > 0.5, strict=True) if one]
    return {client: frozenset(owner for owner, holder in gone if holder == client) for client in neighbours}
