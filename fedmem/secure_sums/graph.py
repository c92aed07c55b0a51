"""Who shares masks with whom: a random graph in which every client has k neighbours."""

from collections.abc import Sequence

import numpy as np


def neighbours(clients: Sequence[int], degree: int, rng: np.random.Generator) -> dict[int, tuple[int, ...]]:
    """Draw a k-regular graph: each client's neighbours are the k / 2 before and behind it in a circle in random order.

    That is the Harary graph over a random permutation of Bell et al. (2020). All are neighbours where there are no
    more than k + 1 clients.

    Args:
        clients: their numbers, two or more.
        degree: k, even.
        rng: draws the order.

    Returns:
        By client its neighbours, in the circle's order.
    """
    circle = rng.permutation(np.asarray(clients, np.int64)).tolist()
    n = len(circle)
    if degree >= n - 1:
        return {client: tuple(other for other in circle if other != client) for client in circle}
    steps = [step for step in range(-(degree // 2), degree // 2 + 1) if step]
    return {client: tuple(circle[(place + step) % n] for step in steps) for place, client in enumerate(circle)}
