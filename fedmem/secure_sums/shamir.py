"""Shamir's secret sharing (1979): any t of n shares give a secret back, and t - 1 of them say nothing about it.

The secret is the value at 0 of a random polynomial of degree t - 1 over the integers modulo a prime; share x is the
polynomial's value at x.
"""

import functools
from collections.abc import Mapping, Sequence

PRIME = 2**256 + 297  # the least above 2^256, so that a secret has up to 32 bytes
SHARE_BYTES = 33


def split(secret: int, points: Sequence[int], coefficients: Sequence[int]) -> list[int]:
    """Make a share at each point, any ``len(coefficients) + 1`` of which suffice.

    Args:
        secret: a whole number below the prime.
        points: distinct whole numbers from 1 on.
        coefficients: random numbers below the prime, of x, x² and so on.
    """
    assert 0 <= secret < PRIME, "secrets have up to 32 bytes"
    return [_value([secret, *coefficients], x) for x in points]


def _value(polynomial: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in reversed(polynomial):
        value = value * x + coefficient  # points are small, so that one division at the end is the least work
    return value % PRIME


def combine(shares: Mapping[int, int]) -> int:
    """Return the secret, by Lagrange's formula at 0, from as many shares as suffice, by their points."""
    points = tuple(sorted(shares))
    weights = _weights_at_zero(points)
    return sum(weight * shares[x] for weight, x in zip(weights, points, strict=True)) % PRIME


@functools.lru_cache(maxsize=4096)
def _weights_at_zero(points: tuple[int, ...]) -> tuple[int, ...]:
    """Π x_j / (x_j - x_i) over the other points x_j, of each point x_i."""
    weights = []
    for x in points:
        above = below = 1
        for other in points:
            if other != x:
                above, below = above * other % PRIME, below * (other - x) % PRIME
        weights.append(above * pow(below, -1, PRIME) % PRIME)
    return tuple(weights)
