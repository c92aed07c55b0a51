"""The budget of a run for its weights: how much noise that asks for, what it costs, and when it is used up."""

from dataclasses import dataclass
from functools import cached_property

from fedmem.config import ExperimentConfig
from fedmem.errors import ConfigError
from fedmem.privacy.accountant import Accountant, noise_for_rounds


@dataclass(frozen=True)
class WeightsBudget:
    """What a run may spend on its weights.

    Attributes:
        accountant: of the run's noise.
        epsilon: the most that is spent; None where noise is given and no budget.
        planned: rounds that are asked for.
    """

    accountant: Accountant
    epsilon: float | None
    planned: int

    @classmethod
    def of(cls, config: ExperimentConfig) -> "WeightsBudget | None":
        """Read a configuration; None where its weights get no noise."""
        privacy, rounds = config.privacy, config.federated.num_rounds
        rate, noise = config.federated.client_fraction, privacy.weights_noise
        if not config.clips_weights or noise == 0:
            return None
        if noise is None:
            assert privacy.weights_epsilon is not None, "or nothing would be clipped"
            noise = noise_for_rounds(privacy.weights_epsilon, config.delta_each, rate, rounds)
        return cls(Accountant(noise, rate, config.delta_each), privacy.weights_epsilon, rounds)

    @cached_property
    def rounds(self) -> int:
        """Count the rounds, of those that are planned, that the budget pays for."""
        return self.planned if self.epsilon is None else self.accountant.affordable(self.epsilon, self.planned)

    def spent(self, rounds: int) -> float:
        """Compute the ε that is spent after so many rounds."""
        return self.accountant.epsilon(rounds)

    @property
    def sentence(self) -> str:
        """Say what training will cost a user, before it starts."""
        accountant = self.accountant
        stops = "" if self.rounds == self.planned else f" (not {self.planned}: the budget ends training)"
        return (
            f"the weights will spend epsilon {self.spent(self.rounds):.3g} at delta {accountant.delta:g} for a user, "
            f"in {self.rounds} rounds{stops} with noise of {accountant.multiplier:.3g} times the clipping norm, each "
            f"client drawn with probability {accountant.rate:g}; metrics are not protected"
        )


def checked_budget(config: ExperimentConfig) -> WeightsBudget | None:
    """Read a configuration's budget; None where its weights get no noise.

    Raises:
        ConfigError: if the noise that is given costs more than the budget in the first round.
    """
    budget = WeightsBudget.of(config)
    if budget and not budget.rounds:
        noise, spent = budget.accountant.multiplier, budget.spent(1)
        raise ConfigError(
            f"privacy.weights_noise = {noise:g} spends epsilon {spent:.3g} in one round, and privacy.weights_epsilon = "
            f"{budget.epsilon}: raise the noise, or set it to null"
        )
    return budget
