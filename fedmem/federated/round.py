"""A round of federated learning as a function: (state, population) -> (state, report).

Nothing here is changed in place. A round that ends in an error leaves the state as it was, and the clients' memories
too, because those that it wrote count from the next round on; it can be run again.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig
from fedmem.evaluation.metric_table import MetricTable, Moments
from fedmem.federated.aggregation import FederatedAggregator
from fedmem.federated.messages import Arrays, Broadcast, MaskedSum, MetricSums, Session, UpdateSum
from fedmem.federated.postprocessing import Postprocessors, of_round, postprocessed_metrics, postprocessed_sum
from fedmem.federated.private_weights import nothing_sent
from fedmem.federated.round_metrics import round_metrics, transition_metrics
from fedmem.federated.secure_aggregation import MaskingPopulation, SecureAggregation, added, handing_on
from fedmem.federated.state import RoundReport, ServerState
from fedmem.federated.transition_release import readable_transitions
from fedmem.memory.count_sketch import table_of
from fedmem.memory.prototypes import Prototypes
from fedmem.memory.transitions import TransitionCounts
from fedmem.privacy.metrics_budget import MetricsBudget
from fedmem.privacy.rounds_budget import RoundsBudget
from fedmem.randomness import numpy_generator

UserIndices = npt.NDArray[np.int64]
STRENGTH = "transition_strength"  # among a round's metrics; of short histories with _up_to_N behind
Split = Literal["validation", "test"]
Watch = Callable[[int, int], None]


class Population(Protocol):
    """The server's handle on its clients: simulated in one process, or far away.

    What comes back in a session is masked; a ``MaskingPopulation`` has sessions.
    """

    def train(
        self,
        clients: UserIndices,
        broadcast: Broadcast,
        postprocessors: Postprocessors = (),
        session: Session | None = None,
    ) -> Generator[UpdateSum | MaskedSum, None, None]:
        """Train the clients on their own devices; their updates, summed by chunks, in a fixed order."""
        ...

    def evaluating(self) -> UserIndices:
        """Tell which clients evaluate."""
        ...

    def evaluate(
        self, broadcast: Broadcast, split: Split, session: Session | None = None
    ) -> Generator[MetricSums | MaskedSum, None, None]:
        """Let every client evaluate the model; only sums of metrics come back, by groups, in a fixed order."""
        ...


def unwatched(trained: int, selected: int) -> None:
    """Watch nothing."""


def run_round(
    config: ExperimentConfig,
    client_ids: UserIndices,
    state: ServerState,
    population: Population,
    postprocessors: Postprocessors = (),
    watch: Watch = unwatched,
) -> tuple[ServerState, RoundReport]:
    """Run one round: select, train, aggregate and, every ``eval_every`` rounds, validate.

    Args:
        config: the run's configuration.
        client_ids: the clients that may be selected.
        state: the server before the round.
        population: how the clients are reached.
        postprocessors: what is done to their updates, to the sum of them, and to the sums of their metrics.
        watch: is told after every chunk how many of how many clients are done, and again after every group that has
            evaluated. What it raises ends the round.

    Returns:
        The server after the round, and what is to be told of it.
    """
    began = time.perf_counter()
    state = replace(state, new_transitions=nothing_new(state))
    clients = select_clients(config, client_ids, state.round)
    training = Training(config, population, postprocessors, watch, len(clients))
    trained, total = training.cohort(state, clients)
    seconds = {"train": time.perf_counter() - began - training.aggregating, "aggregate": training.aggregating}
    trained = replace(trained, round=state.round + 1)
    metrics = round_metrics(total, broadcast_of(trained), state.global_memory)
    metrics |= _transition_metrics(config, trained) | _spent(config, trained) | training.key_metrics
    report = RoundReport(trained.round, metrics, seconds=seconds)
    if trained.round % config.evaluation.eval_every:  # nor because the run ends: longer ones would have other bests
        return trained, report
    return validated(config, trained, report, population, postprocessors, lambda: watch(len(clients), len(clients)))


def _transition_metrics(config: ExperimentConfig, state: ServerState) -> dict[str, float]:
    """Report the transition memory; with a budget for it, how much is spent, and no exact number."""
    if config.releases_transitions:
        spent = 0.0 if state.released is None else config.privacy.transitions_epsilon
        return {"epsilon_transitions": float(spent or 0.0)}
    return transition_metrics(state.transitions, state.new_transitions)


def _spent(config: ExperimentConfig, state: ServerState) -> dict[str, float]:
    """Report what of the budgets for weights, prototypes and metrics is spent."""
    budget, metrics = RoundsBudget.of(config), MetricsBudget.of(config)
    spent = {f"epsilon_{part}": epsilon for part, epsilon in budget.spent(state.round).items()} if budget else {}
    return spent | ({"epsilon_metrics": metrics.spent(state.round)} if metrics else {})


def validated(
    config: ExperimentConfig,
    state: ServerState,
    report: RoundReport,
    population: Population,
    postprocessors: Postprocessors,
    after_group: Callable[[], None],
) -> tuple[ServerState, RoundReport]:
    """Let the clients validate a trained state at every strength of the transition memory, and choose one.

    After short histories, to which they cut their own, another one may be better. The table that is reported, and by
    which the best round is chosen, is that of one for all.
    """
    began = time.perf_counter()
    broadcast = broadcast_to_validate(config, state)
    sums = evaluate_model(config, broadcast, population, "validation", postprocessors, after_group)
    tables, watched = sums.tables(), config.evaluation.stopping_metric
    strength, table = best_strength(tables, watched)
    short = {length: better_than(strength, found) for length, found in sums.short.items()} if strength else {}
    state = after_validation(replace(state, strength=strength, short_strengths=short), table.mean(watched))
    metrics = report.metrics
    if broadcast.transitions is not None:
        metrics = {**metrics, "bytes_down_transitions": float(broadcast.transitions.num_bytes)}
        metrics |= {STRENGTH: strength} | {f"{STRENGTH}_up_to_{length}": found for length, found in short.items()}
    return state, replace(
        report,
        metrics=metrics,
        validation=table,
        is_best=state.best_round == state.round,
        seconds={**report.seconds, "evaluate": time.perf_counter() - began},
        without_transitions=tables[0.0],
    )


def select_clients(config: ExperimentConfig, client_ids: UserIndices, round_number: int) -> UserIndices:
    """Draw a round's cohort, a function of (seed, round): ``client_fraction`` of the clients, at least one.

    Where the weights are protected it is a Poisson sample: each client by itself with that probability, maybe none.
    """
    rng, federated = numpy_generator(config.seed, "cohort", round_number), config.federated
    if config.clips_weights:
        return client_ids[rng.random(len(client_ids)) < federated.client_fraction]
    return rng.permutation(client_ids)[: federated.cohort_size(len(client_ids))]


def broadcast_of(state: ServerState) -> Broadcast:
    """Make the message that every selected client receives, with the global abstract memory where it is used."""
    return Broadcast(state.round, state.parameters, state.global_memory)


def broadcast_to_validate(config: ExperimentConfig, state: ServerState) -> Broadcast:
    """Make the message for clients that try every strength of the transition memory on the averaged model."""
    asked = config.transitions
    return _with_table(config, state, strengths=asked.strengths, short_histories=config.cut_histories)


def broadcast_to_evaluate(config: ExperimentConfig, state: ServerState) -> Broadcast:
    """Make the message for clients that evaluate the averaged model with the strengths that were chosen."""
    return _with_table(config, state, strengths=(state.strength,), short_strengths=state.short_strengths)


def _with_table(config: ExperimentConfig, state: ServerState, **asked: Any) -> Broadcast:
    broadcast = replace(broadcast_of(state), parameters=state.averaged)
    transitions = readable_transitions(config, state)
    if not transitions:
        return broadcast
    return replace(broadcast, transitions=table_of(transitions, config.transitions), **asked)


def nothing_new(state: ServerState) -> TransitionCounts | None:
    """Count no new transitions yet, where they are counted."""
    return None if state.transitions is None else state.transitions.emptied()


def updated(
    aggregator: FederatedAggregator, state: ServerState, mean_delta: Arrays, global_memory: Prototypes | None
) -> ServerState:
    """Apply a mean update, and take over a merged global abstract memory."""
    parameters, optimizer = aggregator.step(state.parameters, mean_delta, state.optimizer)
    averaged = aggregator.moving_average(state.averaged, parameters, optimizer.step)
    return replace(state, parameters=parameters, averaged=averaged, optimizer=optimizer, global_memory=global_memory)


def aggregated(aggregator: FederatedAggregator, state: ServerState, total: UpdateSum) -> ServerState:
    """Apply the sum of what clients sent."""
    memory = aggregator.merge_prototypes(total.prototypes, state.global_memory)
    return with_transitions(updated(aggregator, state, aggregator.average(total), memory), total.transitions)


def with_transitions(state: ServerState, handed_on: TransitionCounts | None) -> ServerState:
    """Add what clients have handed on to the transition memory."""
    if not handed_on or state.transitions is None or state.new_transitions is None:
        return state
    new = state.new_transitions + handed_on
    return replace(state, transitions=state.transitions + handed_on, new_transitions=new)


def best_strength(tables: Mapping[float, MetricTable], metric: str) -> tuple[float, MetricTable]:
    """Choose the weight of the transition memory by a metric that clients measured; the least of equals."""
    strength = max(sorted(tables), key=lambda each: tables[each].mean(metric))
    return strength, tables[strength]


def better_than(general: float, found: Mapping[float, Moments]) -> float:
    """Choose the best weight after short histories; the general one unless it is worse by a quarter of an error.

    That is about the standard error of such a difference in pairs by user.
    """
    best = max(sorted(found), key=lambda each: found[each].mean)
    margin = found[best].mean - found[general].mean
    return best if margin > found[best].standard_error / 4 else general


def evaluate_model(
    config: ExperimentConfig,
    broadcast: Broadcast,
    population: Population,
    split: Split,
    postprocessors: Postprocessors = (),
    after_group: Callable[[], None] = lambda: None,
) -> MetricSums:
    """Have the clients evaluate what is broadcast, at each strength, of which 0 is always one.

    What ``after_group`` raises ends it.
    """
    secure = secure_aggregation(config, population)
    session = secure.session(split, broadcast.round, population.evaluating()) if secure else None
    with contextlib.closing(population.evaluate(broadcast, split, session)) as groups:
        total = added(groups, lambda _: after_group())
    if secure and session:
        total = secure.metrics(session, total)
    rng = numpy_generator(config.seed, f"postprocessed {split} metrics", broadcast.round)
    return postprocessed_metrics(postprocessors, total, rng)


def secure_aggregation(config: ExperimentConfig, population: Population) -> SecureAggregation | None:
    """Return what makes sums secure, where clients mask; nodes do so among themselves."""
    if config.secure_sums.enabled and isinstance(population, MaskingPopulation):
        return SecureAggregation(config, population)
    return None


def after_validation(state: ServerState, metric: float) -> ServerState:
    """Note a validation: a new best, or one more without improvement."""
    if metric > state.best_metric:
        return replace(state, best_round=state.round, best_metric=metric, stale=0)
    return replace(state, stale=state.stale + 1)


@dataclass(eq=False)
class Training:
    """The training part of one round; ``aggregating`` counts the seconds that the server spends in it."""

    config: ExperimentConfig
    population: Population
    postprocessors: Postprocessors
    watch: Watch = unwatched
    selected: int = 0
    trained: int = 0
    aggregating: float = 0.0
    key_metrics: dict[str, float] = field(default_factory=dict)

    def cohort(self, state: ServerState, clients: UserIndices) -> tuple[ServerState, UpdateSum]:
        """Aggregate once over all clients of the round; pooled training does so once per mini-batch."""
        size = self.config.federated.centralised_batch or max(1, len(clients))
        reported: UpdateSum | None = None
        # Of equal size: a last batch of the few that are left would take a whole step of Adam on hardly any data.
        for batch in np.array_split(clients, max(1, round(len(clients) / size))):
            total = self.sum_of(state, batch)
            state = self._aggregated(state, total)
            found = total.without_parts()
            reported = found if reported is None else reported + found
        assert reported is not None, "a round has clients"
        return state, reported

    def sum_of(self, state: ServerState, clients: UserIndices) -> UpdateSum:
        """Train clients, and add up what they send, postprocessed: all that the next model is made of."""
        broadcast, secure = broadcast_of(state), secure_aggregation(self.config, self.population)
        session = secure.session("updates", state.round, clients) if secure else None
        postprocessors = of_round(self.postprocessors, broadcast)
        total: Any = nothing_sent(broadcast)
        if len(clients):
            with contextlib.closing(self.population.train(clients, broadcast, postprocessors, session)) as chunks:
                total = added(chunks, self._after_chunk)
        if secure and session:
            total = self._read(secure, session, total, broadcast, clients)
        rng = numpy_generator(self.config.seed, "postprocessed sum", state.optimizer.step)
        return postprocessed_sum(postprocessors, total, rng)

    def _after_chunk(self, chunk: UpdateSum | MaskedSum) -> None:
        self.trained += chunk.clients
        self.watch(self.trained, self.selected)

    def _read(
        self, secure: SecureAggregation, session: Session, total: MaskedSum, broadcast: Broadcast, clients: UserIndices
    ) -> UpdateSum:
        """Read a secure sum of updates, and have clients hand on their transitions in a session of its own."""
        update = secure.update(session, total)
        self.key_metrics = {"bytes_down_keys": float(session.bytes_down())}
        if not self.config.uses_transitions:
            return update
        having = secure.population.having_transitions(broadcast.round)
        chosen = handing_on(self.config.secure_sums.minimum_cohort, self.config.seed, broadcast.round, clients, having)
        if not len(chosen):
            return update
        session = secure.session("transitions", broadcast.round, chosen)
        with contextlib.closing(secure.population.hand_on(chosen, broadcast, session)) as chunks:
            handed_on = added(chunks, lambda _: self.watch(self.trained, self.selected))
        size = float((handed_on.num_bytes + session.bytes_up()) * len(chosen))
        return update.with_transitions(secure.transitions(session, handed_on), size)

    def _aggregated(self, state: ServerState, total: UpdateSum) -> ServerState:
        began = time.perf_counter()
        found = aggregated(FederatedAggregator(self.config.federated, self.config.fedmem), state, total)
        self.aggregating += time.perf_counter() - began
        return found
