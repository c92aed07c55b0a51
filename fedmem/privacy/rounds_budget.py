"""The budgets of a run for what every round releases, weights and prototypes: their noise, its cost, and their end.

Both are sums over the same sample of clients. So what they cost together is that of one release (``together``);
prototypes count as what they cost alone, and the weights as the rest.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fedmem.config import ExperimentConfig, PrivacyConfig
from fedmem.errors import ConfigError
from fedmem.privacy.accountant import Accountant, most_rounds, noise_beside, noise_for_rounds, together


@dataclass(frozen=True)
class Part:
    """One of the two.

    Attributes:
        noise: the noise's standard deviation over the norm to which each client is clipped.
        epsilon: the most that it may spend; None where noise is given and no budget.
    """

    noise: float
    epsilon: float | None


@dataclass(frozen=True)
class RoundsBudget:
    """What a run may spend on its weights and prototypes.

    Attributes:
        weights: the weights' part.
        prototypes: the prototypes' part; None where there are none.
        rate: the probability with which each client takes part in a round.
        delta: δ of both.
        planned: rounds that are asked for.
        exact_metrics: whether metrics have no budget.
    """

    weights: Part
    prototypes: Part | None
    rate: float
    delta: float
    planned: int
    exact_metrics: bool = True

    @classmethod
    def of(cls, config: ExperimentConfig) -> "RoundsBudget | None":
        """Read a configuration; None where its weights get no noise."""
        privacy, planned = config.privacy, (config.federated.client_fraction, config.federated.num_rounds)
        if not config.clips_weights or privacy.weights_noise == 0:
            return None
        prototypes = _prototypes(privacy, config.delta_each, *planned) if config.clips_prototypes else None
        noise = privacy.weights_noise
        if noise is None:
            noise = _noise_of_weights(privacy, prototypes, config.delta_each, *planned)
        return cls(
            Part(noise, privacy.weights_epsilon),
            prototypes,
            planned[0],
            config.delta_each,
            planned[1],
            not config.noises_metrics,
        )

    @cached_property
    def rounds(self) -> int:
        """Count the rounds, of those that are planned, that the budgets pay for."""
        return most_rounds(self._paid, self.planned)

    def spent(self, rounds: int) -> Mapping[str, float]:
        """Compute the ε that is spent after so many rounds, by part; they add up."""
        return {"weights": self._both.epsilon(rounds) - self._alone(rounds), "prototypes": self._alone(rounds)}

    @property
    def sentence(self) -> str:
        """Say what training will cost a user, before it starts."""
        spent = self.spent(self.rounds)
        stops = "" if self.rounds == self.planned else f" (not {self.planned}: the budget ends training)"
        beside, noise = "", f"{self.weights.noise:.3g} times the clipping norm"
        if self.prototypes:
            beside = f", and the prototypes epsilon {spent['prototypes']:.3g} beside it"
            noise += f" ({self.prototypes.noise:.3g} for prototypes)"
        return (
            f"the weights will spend epsilon {spent['weights']:.3g} at delta {self.delta:g} for a user{beside}, "
            f"in {self.rounds} rounds{stops} with noise of {noise}, each client drawn with probability {self.rate:g}"
            f"{'; metrics are not protected' if self.exact_metrics else ''}"
        )

    @property
    def settings(self) -> str:
        """Name the settings that may end training."""
        prototypes = self.prototypes is not None and self.prototypes.epsilon is not None
        names = {"privacy.weights_epsilon": self.weights.epsilon is not None, "privacy.prototypes_epsilon": prototypes}
        return " and ".join(name for name, is_set in names.items() if is_set)

    @property
    def _both(self) -> Accountant:
        noise = (self.weights.noise, self.prototypes.noise) if self.prototypes else (self.weights.noise,)
        return Accountant(together(*noise), self.rate, self.delta)

    def _alone(self, rounds: int) -> float:
        """Compute what the prototypes spend."""
        return Accountant(self.prototypes.noise, self.rate, self.delta).epsilon(rounds) if self.prototypes else 0.0

    def _paid(self, rounds: int) -> bool:
        """Tell whether the budgets pay for so many rounds; what prototypes leave, the weights may spend."""
        alone = self._alone(rounds)
        most = alone
        if self.prototypes and self.prototypes.epsilon is not None:
            most = self.prototypes.epsilon
        weights = float("inf") if self.weights.epsilon is None else self.weights.epsilon
        return alone <= most and self._both.epsilon(rounds) <= weights + most


def checked_budget(config: ExperimentConfig) -> RoundsBudget | None:
    """Read a configuration's budgets; None where its weights get no noise.

    Raises:
        ConfigError: if the noise that is given costs more than they are in the first round.
    """
    budget = RoundsBudget.of(config)
    if budget and not budget.rounds:
        spent, privacy = budget.spent(1), config.privacy
        part = "prototypes" if spent["prototypes"] > (privacy.prototypes_epsilon or math.inf) else "weights"
        raise ConfigError(
            f"privacy.{part}_noise = {getattr(privacy, f'{part}_noise'):g} spends epsilon {spent[part]:.3g} in one "
            f"round, and privacy.{part}_epsilon = {getattr(privacy, f'{part}_epsilon')}: raise it, or set it to null"
        )
    return budget


def _prototypes(privacy: PrivacyConfig, delta: float, rate: float, rounds: int) -> Part:
    epsilon, noise = privacy.prototypes_epsilon, privacy.prototypes_noise
    if noise is None:
        assert epsilon is not None, "or nothing would be clipped"
        noise = noise_for_rounds(epsilon, delta, rate, rounds)
    return Part(noise, epsilon)


def _noise_of_weights(privacy: PrivacyConfig, prototypes: Part | None, delta: float, rate: float, rounds: int) -> float:
    """Compute the noise with which weights, beside prototypes where there are some, spend their budget."""
    assert privacy.weights_epsilon is not None, "or nothing would be clipped"
    if prototypes is None:
        return noise_for_rounds(privacy.weights_epsilon, delta, rate, rounds)
    beside = Accountant(prototypes.noise, rate, delta).epsilon(rounds)
    return noise_beside(noise_for_rounds(privacy.weights_epsilon + beside, delta, rate, rounds), prototypes.noise)
