"""FedMemServer: selects clients, hands out the model and the global abstract memory, merges what comes back.

It knows clients by their numbers alone. What a round does is ``state -> state``; everything a resume needs is in
``ServerState``.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig
from fedmem.evaluation.metric_table import MetricSums, MetricTable
from fedmem.federated.aggregation import CohortSum, FederatedAggregator, OptimizerState
from fedmem.federated.distributions import CLIENT_LOSS, SURPRISE, SURPRISE_TOGETHER
from fedmem.federated.messages import Arrays, Broadcast
from fedmem.memory.prototypes import Prototypes, collapse, drift, spread
from fedmem.randomness import numpy_generator

UserIndices = npt.NDArray[np.int64]
Split = Literal["validation", "test"]
Watch = Callable[[int, int], None]
STOPPING_METRIC = "HR@10"


@dataclass(frozen=True, eq=False)
class ServerState:
    """All that the server keeps between rounds.

    Attributes:
        round: rounds completed.
        parameters: the global model that trains on.
        averaged: its moving average, which is evaluated and served.
        optimizer: moments of the server's optimiser.
        global_memory: the global abstract memory, or None.
        best_round: the round of the best validation so far, 0 before the first.
        best_metric: its HR@10.
        stale: evaluations since then.
    """

    round: int
    parameters: Arrays
    averaged: Arrays
    optimizer: OptimizerState
    global_memory: Prototypes | None = None
    best_round: int = 0
    best_metric: float = -1.0
    stale: int = 0


@dataclass(frozen=True)
class RoundReport:
    """What one round did. ``metrics`` are the same whenever the round is run again; ``seconds`` by phase are not."""

    round: int
    metrics: Mapping[str, float]
    validation: MetricTable | None = None
    is_best: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)


class Population(Protocol):
    """The server's handle on its clients: simulated in one process, or far away."""

    def train(self, clients: UserIndices, broadcast: Broadcast) -> Generator[CohortSum, None, None]:
        """Train the clients on their own devices; their updates, summed by chunks, in a fixed order."""
        ...

    def evaluate(self, broadcast: Broadcast, split: Split) -> Generator[MetricSums, None, None]:
        """Let every client evaluate the model; only sums of metrics come back, by groups, in a fixed order."""
        ...


class FedMemServer:
    """The server of one run.

    Args:
        config: the run's configuration.
        client_ids: the clients that may be selected.
        population: how they are reached.
        state: where to start.
    """

    def __init__(
        self, config: ExperimentConfig, client_ids: UserIndices, population: Population, state: ServerState
    ) -> None:
        self.config = config
        self.client_ids = client_ids
        self.population = population
        self.state = state
        self.aggregator = FederatedAggregator(config.federated, config.fedmem)
        self._aggregating = 0.0  # seconds, in the round in progress

    def select_clients(self) -> UserIndices:
        """This round's cohort, a function of (seed, round): ``client_fraction`` of the clients, at least one."""
        rng = numpy_generator(self.config.seed, "cohort", self.state.round)
        count = max(1, round(self.config.federated.client_fraction * len(self.client_ids)))
        return rng.permutation(self.client_ids)[:count]

    def distribute_model(self) -> Broadcast:
        """The message every selected client receives, with the global abstract memory where it is used."""
        return Broadcast(self.state.round, self.state.parameters, self.distribute_global_abstract_memory())

    def distribute_global_abstract_memory(self) -> Prototypes | None:
        """The prototypes that clients append to what they read, and start their own clustering from."""
        return self.state.global_memory if self.config.uses_prototypes else None

    def aggregate_parameters(self, cohort: CohortSum) -> Arrays:
        """The cohort's mean update."""
        return self.aggregator.average(cohort)

    def aggregate_prototypes(self, cohort: CohortSum) -> Prototypes | None:
        """The next global abstract memory."""
        current, sent = self.state.global_memory, cohort.prototypes
        return current if current is None or sent is None else self.aggregator.merge_prototypes(sent, current)

    def update_global_model(self, mean_delta: Arrays, global_memory: Prototypes | None) -> None:
        """Apply the mean update and take over the merged prototypes."""
        parameters, optimizer = self.aggregator.step(self.state.parameters, mean_delta, self.state.optimizer)
        averaged = self.aggregator.moving_average(self.state.averaged, parameters, optimizer.step)
        self.state = replace(
            self.state, parameters=parameters, averaged=averaged, optimizer=optimizer, global_memory=global_memory
        )

    def evaluate_global_model(
        self, split: Split | Literal["val"], after_group: Callable[[], None] | None = None
    ) -> MetricTable:
        """The clients' metrics of the present averaged model; ``val`` is the original's word for validation.

        ``after_group`` is called after every group of clients; what it raises ends the evaluation.
        """
        broadcast = replace(self.distribute_model(), parameters=self.state.averaged)
        total: MetricSums | None = None
        with contextlib.closing(self.population.evaluate(broadcast, "validation" if split == "val" else split)) as sums:
            for group in sums:
                total = group if total is None else total + group
                if after_group is not None:
                    after_group()
        assert total is not None, "somebody evaluates"
        return total.table()

    def run_round(self, watch: Watch | None = None) -> RoundReport:
        """One round: select, train, aggregate and, every ``eval_every`` rounds, validate.

        ``watch(trained, selected)`` is told after every chunk how many clients are done, and again after every group
        that has evaluated. What it raises ends the round: the state is then that before the round, which can be run
        again.
        """
        started = self.state
        try:
            return self._run_round(watch or (lambda trained, selected: None))
        except BaseException:
            self.state = started
            raise

    def _run_round(self, watch: Watch) -> RoundReport:
        before = self.state.global_memory
        began = time.perf_counter()
        cohort = self._train_cohort(self.select_clients(), watch)
        self.state = replace(self.state, round=self.state.round + 1)
        metrics = round_metrics(cohort, self.distribute_model(), before)
        seconds = {"train": time.perf_counter() - began - self._aggregating, "aggregate": self._aggregating}
        if not self._evaluation_due():
            return RoundReport(self.state.round, metrics, seconds=seconds)
        began = time.perf_counter()
        table = self.evaluate_global_model("validation", lambda: watch(cohort.clients, cohort.clients))
        is_best = table.mean(STOPPING_METRIC) > self.state.best_metric
        self._note_validation(table.mean(STOPPING_METRIC), is_best)
        seconds["evaluate"] = time.perf_counter() - began
        return RoundReport(self.state.round, metrics, table, is_best, seconds)

    @property
    def finished(self) -> bool:
        """Whether the rounds are done or validation has not improved for ``patience`` evaluations."""
        federated = self.config.federated
        return self.state.round >= federated.num_rounds or self.state.stale >= federated.patience

    def _train_cohort(self, clients: UserIndices, watch: Watch) -> CohortSum:
        """One aggregation over the whole cohort; pooled training takes several, one a mini-batch."""
        size = self.config.federated.centralised_batch or len(clients)
        done: CohortSum | None = None
        self._aggregating = 0.0
        for first in range(0, len(clients), size):
            told = functools.partial(_told, watch, first, len(clients))
            group = self._train_group(clients[first : first + size], told)
            done = group if done is None else done + group
        assert done is not None, "a round has clients"
        return done

    def _train_group(self, clients: UserIndices, watch: Callable[[int], None]) -> CohortSum:
        """Train some clients and apply what they sent; what is left to report of them."""
        cohort: CohortSum | None = None
        with contextlib.closing(self.population.train(clients, self.distribute_model())) as chunks:
            for chunk in chunks:  # one after another, so that no more than two are held
                cohort = chunk if cohort is None else cohort + chunk
                watch(cohort.clients)
        assert cohort is not None, "a cohort has clients"
        began = time.perf_counter()
        self.update_global_model(self.aggregate_parameters(cohort), self.aggregate_prototypes(cohort))
        self._aggregating += time.perf_counter() - began
        return replace(cohort, delta={}, item_rows=None, row_weight=None, prototypes=None)

    def _evaluation_due(self) -> bool:
        # Never because the run ends here: a run with more rounds would have other best rounds.
        return self.state.round % self.config.evaluation.eval_every == 0

    def _note_validation(self, metric: float, is_best: bool) -> None:
        if is_best:
            self.state = replace(self.state, best_round=self.state.round, best_metric=metric, stale=0)
        else:
            self.state = replace(self.state, stale=self.state.stale + 1)


def _told(watch: Watch, before: int, selected: int, trained: int) -> None:
    watch(before + trained, selected)


def round_metrics(cohort: CohortSum, broadcast: Broadcast, before: Prototypes | None) -> dict[str, float]:
    """Means over positions or clients of what the cohort reported, prototype measures and bytes per client."""
    sums = cohort.metrics
    positions, clients = sums["positions"], cohort.clients
    metrics = {
        "clients": float(clients),
        "recommendation_loss": sums["recommendation_loss"] / positions,
        "contrastive_loss": sums["contrastive_loss"] / positions,
        **CLIENT_LOSS.quantiles(sums),
    }
    metrics |= {name: value / positions for name, value in sums.items() if name.startswith("gate_")}
    if "surprise" in sums:  # where clients have a memory
        metrics |= {
            "surprise_mean": sums["surprise"] / positions,
            **SURPRISE.quantiles(sums),
            **SURPRISE.shares(sums, SURPRISE_TOGETHER),
            "memory_updates": sums["memory_updates"],
            "memory_evictions": sums["memory_evictions"],
            "memory_written_fraction": sums["memory_updates"] / positions,
            "memory_occupancy_mean": sums["memory_occupancy"] / clients,
        }
    metrics |= {f"bytes_down_{part}": float(count) for part, count in broadcast.num_bytes().items()}
    metrics |= {f"bytes_up_{part}": count / clients for part, count in cohort.upload_bytes.items()}
    return metrics | _prototype_metrics(before, broadcast.global_memory)


def _prototype_metrics(before: Prototypes | None, after: Prototypes | None) -> dict[str, float]:
    if before is None or after is None:
        return {}
    mass: Sequence[float] = after.mass.tolist()
    return {
        "prototype_collapse": collapse(after),
        "prototype_spread": spread(after),
        "prototype_drift": drift(before, after),
        **{f"prototype_mass_{k}": value for k, value in enumerate(mass)},
    }
