"""What noise costs: (ε, δ) for a user, by the accountants of dp-accounting.

Neighbouring data sets differ by one user, with all that the user has done.
"""


def noise_multiplier(epsilon: float, delta: float) -> float:
    """Compute the standard deviation of the noise, over the most that a user changes a sum by, of one release.

    The Gaussian mechanism, exactly (Balle and Wang, 2018).
    """
    import dp_accounting  # a second that only runs with a budget take

    return float(dp_accounting.get_sigma_gaussian(epsilon, delta))
