"""What noise costs: (ε, δ) for a user, by the accountants of dp-accounting.

Neighbouring data sets differ by one user, with all that the user has done.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dp_accounting

# Rényi orders. Whole ones have a closed form (Mironov, Talwar and Zhang, 2019), others a series that may not converge.
ORDERS = (*range(2, 65), 80, 96, 128, 256, 512)


def noise_multiplier(epsilon: float, delta: float) -> float:
    """Compute the standard deviation of the noise, over the most that a user changes a sum by, of one release.

    The Gaussian mechanism, exactly (Balle and Wang, 2018).
    """
    import dp_accounting  # a second that only runs with a budget take

    return float(dp_accounting.get_sigma_gaussian(epsilon, delta))


@dataclass(frozen=True)
class Accountant:
    """What rounds of noise on Poisson-sampled sums cost: a function of how many there were, and of nothing else.

    Attributes:
        multiplier: the noise's standard deviation, over the most that a user changes a sum by.
        rate: the probability with which each user takes part in a round.
        delta: δ.
    """

    multiplier: float
    rate: float
    delta: float

    def epsilon(self, rounds: int) -> float:
        """Compute the ε that so many rounds have spent, by Rényi differential privacy; 0 of none, infinite unnoised."""
        if not rounds:
            return 0.0
        return _epsilon(self.multiplier, self.rate, self.delta, rounds) if self.multiplier else float("inf")


def most_rounds(paid: Callable[[int], bool], planned: int) -> int:
    """Count the rounds, of those that are planned, that are paid for; so are then all that are fewer."""
    low, high = 0, planned  # high + 1 is too many, or more than are asked for
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if paid(middle) else (low, middle - 1)
    return low


def together(*multipliers: float) -> float:
    """Compute the multiplier of one release that costs what several cost together: 1/σ² adds up.

    Sums over one sample of clients ask for this: ε of each, computed as if it had a sample of its own, do not add up.
    """
    return 0.0 if not all(multipliers) else sum(each**-2 for each in multipliers) ** -0.5


def noise_beside(both: float, other: float) -> float:
    """Compute the multiplier that, together with another, makes ``both``, rounded up."""
    return float((both**-2 - other**-2) ** -0.5) * (1 + 1e-9)


@functools.lru_cache(maxsize=256)
def noise_for_rounds(epsilon: float, delta: float, rate: float, rounds: int) -> float:
    """Compute the noise multiplier with which so many rounds spend a budget, and no more."""
    import dp_accounting

    return float(
        dp_accounting.calibrate_dp_mechanism(
            _accountant, lambda multiplier: _event(multiplier, rate, rounds), epsilon, delta
        )
    )


@functools.lru_cache(maxsize=4096)
def _epsilon(multiplier: float, rate: float, delta: float, rounds: int) -> float:
    return float(_accountant().compose(_event(multiplier, rate, rounds)).get_epsilon(delta))


def _accountant() -> "dp_accounting.PrivacyAccountant":
    from dp_accounting.rdp import RdpAccountant

    return RdpAccountant(ORDERS)


def _event(multiplier: float, rate: float, rounds: int) -> "dp_accounting.DpEvent":
    import dp_accounting

    one = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(multiplier))
    return dp_accounting.SelfComposedDpEvent(one, rounds)
