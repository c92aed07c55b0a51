"""The accountant gives dp-accounting's own figures."""

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from scipy.special import gammaln, logsumexp

from fedmem.privacy.accountant import (
    ORDERS,
    Accountant,
    most_rounds,
    noise_beside,
    noise_for_rounds,
    noise_multiplier,
    together,
)


@pytest.mark.parametrize("epsilon", [1.0, 2.0, 4.0, 8.0])
def test_the_noise_of_one_release_costs_the_budget(epsilon: float) -> None:
    multiplier = noise_multiplier(epsilon, 1e-6)
    assert dp_accounting.get_epsilon_gaussian(multiplier, 1e-6) == pytest.approx(epsilon, rel=1e-6)
    accountant = PLDAccountant().compose(dp_accounting.GaussianDpEvent(multiplier))
    assert accountant.get_epsilon(1e-6) == pytest.approx(epsilon, rel=1e-2)


def closed_form(multiplier: float, rate: float, delta: float, rounds: int) -> float:
    """Rényi divergence of whole orders (Mironov, Talwar and Zhang, 2019), as (ε, δ) (Canonne et al., 2020)."""
    found = []
    for order in range(2, 65):
        k = np.arange(order + 1)
        taken = k * np.log(rate) + (order - k) * np.log1p(-rate) if rate < 1 else np.where(k == order, 0.0, -np.inf)
        chosen = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
        divergence = rounds * logsumexp(chosen + taken + k * (k - 1) / (2 * multiplier**2)) / (order - 1)
        found.append(divergence + np.log1p(-1 / order) - (np.log(delta) + np.log(order)) / (order - 1))
    return float(min(found))


@pytest.mark.parametrize(
    ("multiplier", "rate", "delta", "rounds"), [(1.0, 0.1, 1e-6, 60), (1.5, 0.01, 1e-5, 1000), (4.0, 1.0, 1e-6, 20)]
)
def test_rounds_cost_what_the_closed_form_says(multiplier: float, rate: float, delta: float, rounds: int) -> None:
    found = Accountant(multiplier, rate, delta).epsilon(rounds)
    assert found == pytest.approx(closed_form(multiplier, rate, delta, rounds), rel=1e-6)


def test_rounds_cost_between_the_exact_figure_and_the_one_that_was_published() -> None:
    accountant = Accountant(4.0, 0.01, 1e-5)  # Abadi et al., CCS 2016, section 3.2: 1.26 by their own accountant
    event = dp_accounting.PoissonSampledDpEvent(0.01, dp_accounting.GaussianDpEvent(4.0))
    exact = PLDAccountant(value_discretization_interval=1e-3).compose(event, 10_000).get_epsilon(1e-5)
    assert exact * 0.98 < accountant.epsilon(10_000) < 1.26


def test_rounds_cost_more_the_more_they_are_and_a_budget_pays_for_no_more() -> None:
    accountant = Accountant(1.0, 0.1, 1e-6)
    spent = [accountant.epsilon(rounds) for rounds in range(8)]
    assert spent[0] == 0
    assert spent == sorted(spent)
    for most, paid in ((spent[5], 5), (spent[5] - 1e-6, 4), (spent[1] / 2, 0), (1000, 7)):
        assert most_rounds(lambda rounds, most=most: accountant.epsilon(rounds) <= most, 7) == paid
    assert Accountant(0.0, 0.1, 1e-6).epsilon(1) == float("inf")


@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_noise_is_computed_so_that_all_rounds_spend_the_budget_and_no_more(rate: float) -> None:
    accountant = Accountant(noise_for_rounds(8.0, 1e-6, rate, 20), rate, 1e-6)
    assert 7.99 < accountant.epsilon(20) <= 8.0
    assert most_rounds(lambda rounds: accountant.epsilon(rounds) <= 8.0, 25) == 20


def test_two_sums_over_one_sample_cost_what_dp_accounting_says_of_both() -> None:
    both = dp_accounting.ComposedDpEvent([dp_accounting.GaussianDpEvent(1.5), dp_accounting.GaussianDpEvent(4.0)])
    rounds = dp_accounting.SelfComposedDpEvent(dp_accounting.PoissonSampledDpEvent(0.1, both), 60)
    its_own = RdpAccountant(ORDERS).compose(rounds).get_epsilon(1e-6)
    assert Accountant(together(1.5, 4.0), 0.1, 1e-6).epsilon(60) == pytest.approx(its_own, rel=1e-9)
    assert noise_beside(together(1.5, 4.0), 4.0) == pytest.approx(1.5)
    assert together(0.0, 4.0) == 0.0
