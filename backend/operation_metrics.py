"""What Prometheus reads of the queue, the trainers and the models in service; read of the database now and then."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from backend.damaged_rows import shown
from backend.operation_rows import TRAINER_SILENCE
from backend.schedule_rows import schedule_of
from fedmem.contracts.jobs import JobState
from fedmem.storage.job_overview import Overview, RunningJob, WaitingModel
from fedmem.storage.models import ModelRow
from fedmem.storage.schedules import ScheduleRow

EVERY = 5.0  # seconds between two looks
JOB = ("job", "dataset")


@dataclass(eq=False)
class OperationMetrics:
    """Gauges of what the database says, and a count of leases that were lost between two looks.

    Attributes:
        clock: tells the time in seconds since 1970.
    """

    registry: CollectorRegistry
    clock: Callable[[], float] = time.time
    _next: float = -math.inf
    _held: dict[int, RunningJob] = field(default_factory=dict)

    def __post_init__(self) -> None:
        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"fedmem_{name}", meaning, labels, registry=self.registry)

        self._jobs = gauge("jobs", "Jobs by state.", "state")
        self._queue = gauge("job_queue_seconds", "For how long the oldest queued job has waited; 0 if none is queued.")
        self._trainers = gauge("trainers", "Trainers that are heard of.")
        self._silent = gauge("trainers_silent", "Trainers that were heard of within a day, and are not now.")
        self._round = gauge("job_round", "The last round of a job that is trained.", *JOB)
        self._planned = gauge("job_rounds_planned", "How many rounds it is to have at most.", *JOB)
        self._last = gauge("job_last_round_timestamp_seconds", "When its last round was finished.", *JOB)
        self._expired = gauge("leases_expired", "Jobs that no trainer has renewed its lease of in time.")
        self._created = gauge(
            "model_created_timestamp_seconds", "When the data set's model in service was made.", "dataset", "version"
        )
        self._waiting = gauge(
            "model_waiting_timestamp_seconds",
            "When the newest model of the data set was made, where it is held back and waits, ready.",
            *("dataset", "version"),
        )
        self._trouble = gauge(
            "schedule_in_trouble",
            "1 where something is wrong with a schedule that is not paused.",
            "schedule",
            "dataset",
        )
        self._lost = Counter(
            "fedmem_lease_losses", "Jobs that another trainer took up, since theirs died.", registry=self.registry
        )

    @property
    def due(self) -> bool:
        """Whether it is time for another look."""
        return self.clock() >= self._next

    def show(self, found: Overview, active: Iterable[ModelRow]) -> None:
        """Take what the database says."""
        now = self.clock()
        self._next = now + EVERY
        for state in get_args(JobState):
            self._jobs.labels(state).set(found.states.get(state, 0))
        self._queue.set(0 if found.oldest_queued is None else max(0.0, now - found.oldest_queued))
        living = sum(abs(now - seen) < TRAINER_SILENCE for seen in found.seen)
        self._trainers.set(living)
        self._silent.set(len(found.seen) - living)
        self._expired.set(sum(job.lease_expires_at < now for job in found.running))
        self._show_running(found.running)
        self._count_lost(found.running, now)
        _fill(self._created, active)
        _fill(self._waiting, found.waiting)
        self._show_schedules(found.schedules)

    def _show_schedules(self, schedules: Iterable[ScheduleRow]) -> None:
        self._trouble.clear()
        for schedule in shown(schedule_of, schedules):
            wrong = schedule.trouble is not None and not schedule.paused
            self._trouble.labels(str(schedule.id), schedule.dataset).set(wrong)

    def _show_running(self, running: Iterable[RunningJob]) -> None:
        for gauge in (self._round, self._planned, self._last):
            gauge.clear()
        for job in running:
            labels = (str(job.id), job.dataset)
            self._round.labels(*labels).set(job.round)
            self._planned.labels(*labels).set(job.num_rounds)
            if job.last_round_at is not None:
                self._last.labels(*labels).set(job.last_round_at)

    def _count_lost(self, running: Iterable[RunningJob], now: float) -> None:
        """Count the jobs whose lease ran out and that are held under another by now."""
        held = {job.id: job for job in running}
        for number, job in held.items():
            before = self._held.get(number)
            if before is not None and before.token != job.token and before.lease_expires_at <= now:
                self._lost.inc()
        self._held = held


def _fill(gauge: Gauge, models: Iterable[ModelRow | WaitingModel]) -> None:
    """Show these models, and no others, by the time at which they were made."""
    gauge.clear()
    for model in models:
        gauge.labels(model.dataset, model.version).set(model.created_at)


class AnswerMetrics:
    """Counts answers by what answered."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("dataset", "strategy")
        self._answers = Counter("fedmem_recommendations", "Answers by what answered.", labels, registry=registry)
        self._children: dict[tuple[str, str], Counter] = {}

    def count(self, dataset: str, strategy: str) -> None:
        """Count one answer; its child is kept, because looking it up costs more than counting."""
        counter = self._children.get((dataset, strategy))
        if counter is None:
            counter = self._children[dataset, strategy] = self._answers.labels(dataset, strategy)
        counter.inc()
