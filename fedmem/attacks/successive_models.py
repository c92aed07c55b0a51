"""Successive models: what a client finds out of the others from the global models that it is sent round after round.

Two models in succession differ by a step of the server's optimiser. Who has kept all models since the first knows that
optimiser's moments too, and solves its step for the mean update that clients made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.attacks.interaction_inference import Scores
from fedmem.federated.aggregation import FederatedAggregator
from fedmem.federated.messages import ITEM_ROWS
from fedmem.federated.private_weights import protected
from fedmem.federated.round import Training, aggregated, select_clients
from fedmem.federated.simulation import SimulatedPopulation
from fedmem.federated.state import ServerState

Users = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RecordedStep:
    """One round from a model to the next.

    Attributes:
        users: who took part.
        moved: how far each item's row has moved [I + 1].
        updated: how far it moves in the mean update [I + 1], with what noise there is.
    """

    users: Users
    moved: Scores
    updated: Scores


def steps(population: SimulatedPopulation, state: ServerState, cohorts: Sequence[Users]) -> tuple[RecordedStep, ...]:
    """Let each of these cohorts by itself be the next round's, and that which the round would draw; it is the last.

    Where it would draw none, the first of these stands for it. Pooled training, which has no clients, is left out.
    """
    if population.config.federated.centralised_batch is not None:
        return ()
    drawn = select_clients(population.config, population.evaluating(), state.round)
    return tuple(_step(population, state, users) for users in (*cohorts, drawn if len(drawn) else cohorts[0]))


def _step(population: SimulatedPopulation, state: ServerState, users: Users) -> RecordedStep:
    config = population.config
    # As many clients as would make this cohort the expected one, by which the sum is divided where it gets noise.
    postprocessors = protected(config, round(len(users) / config.federated.client_fraction), ())
    smallest = config.secure_sums.model_copy(update={"minimum_cohort": 2})  # what small cohorts betray is to be seen
    config = config.model_copy(update={"secure_sums": smallest})
    total = Training(config, population, postprocessors).sum_of(state, users)
    aggregator = FederatedAggregator(config.federated, config.fedmem)
    after = aggregated(aggregator, state, total)
    moved = after.parameters[ITEM_ROWS].astype(np.float64) - state.parameters[ITEM_ROWS]
    updated = aggregator.average(total)[ITEM_ROWS].astype(np.float64)
    return RecordedStep(users, np.linalg.norm(moved, axis=1), np.linalg.norm(updated, axis=1))
