"""The accountant gives dp-accounting's own figures."""

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant

from fedmem.privacy.accountant import noise_multiplier


@pytest.mark.parametrize("epsilon", [1.0, 2.0, 4.0, 8.0])
def test_the_noise_of_one_release_costs_the_budget(epsilon: float) -> None:
    multiplier = noise_multiplier(epsilon, 1e-6)
    assert dp_accounting.get_epsilon_gaussian(multiplier, 1e-6) == pytest.approx(epsilon, rel=1e-6)
    accountant = PLDAccountant().compose(dp_accounting.GaussianDpEvent(multiplier))
    assert accountant.get_epsilon(1e-6) == pytest.approx(epsilon, rel=1e-2)
