"""When the transition memory is released with noise: once in a run, after a round that the configuration fixes."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig
from fedmem.errors import ConfigError
from fedmem.federated.state import ServerState
from fedmem.memory.transitions import TransitionCounts
from fedmem.privacy.accountant import noise_multiplier
from fedmem.privacy.transition_release import release

MOST_ITEMS = 20_000  # of whose pairs each gets noise


@dataclass(frozen=True, eq=False)
class TransitionRelease:
    """The one release of a run.

    Attributes:
        config: the run's configuration.
        texts: public vectors of the items [I + 1, D], by which pairs are grouped, or None.
    """

    config: ExperimentConfig
    texts: npt.NDArray[np.float32] | None

    def applied(self, state: ServerState) -> ServerState:
        """Release what clients have handed on, if it is time to and has not been done.

        The best validation so far was made without it, and is no measure of what follows: the next is the best again,
        so that the model that serves has what the budget was spent on.
        """
        epsilon = self.config.privacy.transitions_epsilon
        if epsilon is None or state.transitions is None or state.released is not None:
            return state
        if state.round < self.config.release_round:
            return state
        multiplier = noise_multiplier(epsilon, self.config.delta_each)
        released = release(state.transitions, self.texts, self.config.transitions, multiplier, self.config.seed)
        return replace(state, released=released, best_metric=-1.0, stale=0)


def readable_transitions(config: ExperimentConfig, state: ServerState) -> TransitionCounts | None:
    """Return what may be read of the transition memory: all of it or, with a budget, what was released."""
    return state.released if config.releases_transitions else state.transitions


def unreleased(config: ExperimentConfig, state: ServerState) -> str | None:
    """Say that a run has ended before its release; None where it has none, or had it."""
    if not config.releases_transitions or state.released is not None:
        return None
    return (
        f"the transition memory was not released, which follows round {config.release_round}: the model has none, and "
        "nothing of privacy.transitions_epsilon is spent"
    )


def check_release(config: ExperimentConfig, num_items: int) -> None:
    """Refuse noise on more pairs than can be gone through.

    Raises:
        ConfigError: naming the setting.
    """
    if config.releases_transitions and num_items > MOST_ITEMS:
        raise ConfigError(
            f"privacy.transitions_epsilon = {config.privacy.transitions_epsilon}: each pair of {num_items:,} items "
            f"would get noise, and that is done for {MOST_ITEMS:,} items at most. Leave it out, or set "
            "ablation.disable_transitions=true"
        )
