"""Shamir's secret sharing against its definition."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Poly, interpolate, isprime, symbols

from fedmem.secure_sums.shamir import PRIME, SHARE_BYTES, combine, split


def test_the_modulus_is_prime_and_its_numbers_fit_into_a_share():
    assert isprime(PRIME)
    assert PRIME > 2**256
    assert PRIME <= 2 ** (8 * SHARE_BYTES)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**256 - 1), st.lists(st.integers(0, PRIME - 1), max_size=4), st.integers(0, 3))
def test_any_t_shares_give_the_secret_back(secret, coefficients, more):
    needed = len(coefficients) + 1
    points = range(1, needed + more + 1)
    shares = dict(zip(points, split(secret, points, coefficients), strict=True))
    for chosen in combinations(points, needed):
        assert combine({x: shares[x] for x in chosen}) == secret


def test_shares_are_the_polynomial_s_values():
    x = symbols("x")
    polynomial = Poly(5 + 3 * x + 11 * x**2, x)
    assert split(5, [1, 2, 9], [3, 11]) == [polynomial.eval(point) for point in (1, 2, 9)]
    assert interpolate([(1, 19), (2, 55), (9, 923)], 0) == 5


def test_fewer_shares_fit_every_secret():
    """Whatever two of three needed shares are, each secret has one third share that would give it."""
    rng = np.random.default_rng(0)
    coefficients = [int.from_bytes(rng.bytes(32)) for _ in range(2)]
    known = dict(zip([1, 2], split(1234, [1, 2], coefficients), strict=True))
    found = {combine({**known, 3: third}) for third in range(50)}
    assert len(found) == 50
