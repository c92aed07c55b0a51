"""FedMemServer: selects clients, hands out the model and the global abstract memory, merges what comes back.

It knows clients by their numbers alone. A round is the function ``run_round``; its parts here have the original names.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from fedmem.config import ExperimentConfig
from fedmem.evaluation.metric_table import MetricTable
from fedmem.federated.aggregation import FederatedAggregator
from fedmem.federated.messages import Arrays, Broadcast, UpdateSum
from fedmem.federated.postprocessing import Postprocessors
from fedmem.federated.private_weights import protected
from fedmem.federated.round import (
    Population,
    Split,
    UserIndices,
    Watch,
    broadcast_of,
    broadcast_to_evaluate,
    evaluate_model,
    nothing_new,
    run_round,
    select_clients,
    unwatched,
    updated,
    validated,
)
from fedmem.federated.state import RoundReport, ServerState
from fedmem.federated.transition_release import TransitionRelease
from fedmem.memory.prototypes import Prototypes
from fedmem.privacy.rounds_budget import checked_budget


class FedMemServer:
    """The server of one run: the state between its rounds.

    Args:
        config: the run's configuration.
        client_ids: the clients that may be selected.
        population: how they are reached.
        state: where to start.
        postprocessors: what is done to clients' updates and to sums of them.
        release: when the transition memory is released with noise, and how; None without a budget for it.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        client_ids: UserIndices,
        population: Population,
        state: ServerState,
        postprocessors: Postprocessors = (),
        release: TransitionRelease | None = None,
    ) -> None:
        self.config = config
        self.client_ids = client_ids
        self.population = population
        self.state = state
        self.postprocessors = protected(config, len(client_ids), postprocessors)
        self.budget = checked_budget(config)
        self.release = release
        self.aggregator = FederatedAggregator(config.federated, config.fedmem)

    def select_clients(self) -> UserIndices:
        """Draw this round's cohort, a function of (seed, round)."""
        return select_clients(self.config, self.client_ids, self.state.round)

    def distribute_model(self) -> Broadcast:
        """Make the message that every selected client receives."""
        return broadcast_of(self.state)

    def distribute_global_abstract_memory(self) -> Prototypes | None:
        """Hand out the prototypes that clients append to what they read, and start their own clustering from."""
        return self.distribute_model().global_memory

    def aggregate_parameters(self, total: UpdateSum) -> Arrays:
        """Average what the cohort sent."""
        return self.aggregator.average(total)

    def aggregate_prototypes(self, total: UpdateSum) -> Prototypes | None:
        """Merge what the cohort sent into the next global abstract memory."""
        return self.aggregator.merge_prototypes(total.prototypes, self.state.global_memory)

    def update_global_model(self, mean_delta: Arrays, global_memory: Prototypes | None) -> None:
        """Apply the mean update and take over the merged prototypes."""
        self.state = updated(self.aggregator, self.state, mean_delta, global_memory)

    def evaluate_global_model(
        self, split: Split | Literal["val"], after_group: Callable[[], None] = lambda: None
    ) -> MetricTable:
        """Have the clients evaluate the present averaged model; ``val`` is the original's word for validation.

        ``after_group`` is called after every group of clients; what it raises ends the evaluation.
        """
        return self.evaluate_with_and_without_transitions(split, after_group)[self.state.strength]

    def evaluate_with_and_without_transitions(
        self, split: Split | Literal["val"], after_group: Callable[[], None] = lambda: None
    ) -> dict[float, MetricTable]:
        """Evaluate as ``evaluate_global_model``: tables by the transition memory's weight, 0 and the chosen."""
        wanted: Split = "validation" if split == "val" else split
        broadcast = broadcast_to_evaluate(self.config, self.state)
        sums = evaluate_model(self.config, broadcast, self.population, wanted, self.postprocessors, after_group)
        return sums.tables()

    def validate(self, after_group: Callable[[], None] = lambda: None) -> RoundReport:
        """Validate what was trained on other data before it is trained on this; it is the best until one is better."""
        unrated = replace(self.state, best_round=0, best_metric=-1.0, stale=0, new_transitions=nothing_new(self.state))
        report = RoundReport(unrated.round, {})
        self.state, report = validated(self.config, unrated, report, self.population, self.postprocessors, after_group)
        return report

    def run_round(self, watch: Watch = unwatched) -> RoundReport:
        """Run one round and keep its state; a round that ends in an error leaves the one before."""
        state = self.state if self.release is None else self.release.applied(self.state)
        self.state, report = run_round(self.config, self.client_ids, state, self.population, self.postprocessors, watch)
        return report

    @property
    def finished(self) -> bool:
        """Whether the rounds are done, validation has not improved for ``patience`` evaluations, or ε is spent."""
        return self.config.federated.are_over(self.state.round, self.state.stale) or self.budget_spent

    @property
    def budget_spent(self) -> bool:
        """Whether one more round would spend more than the budgets for weights and prototypes."""
        return self.budget is not None and self.state.round >= self.budget.rounds
