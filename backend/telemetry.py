"""What Prometheus reads at /metrics. Labels are route templates, never paths: their number is known beforehand."""

from collections import Counter as TallyOf
from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from fedmem.storage.catalogue_rows import Event

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class HttpMetrics:
    """Counters of one application, in a registry of its own so that several may live in one process."""

    registry: CollectorRegistry
    requests: Counter
    seconds: Histogram
    _children: dict[tuple[str, str, int], Counter] = field(default_factory=dict)
    _timers: dict[tuple[str, str], Histogram] = field(default_factory=dict)

    @classmethod
    def create(cls) -> "HttpMetrics":
        """Start all at zero."""
        registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        requests = Counter(
            "fedmem_http_requests",
            "Answers by method, route and status.",
            ("method", "route", "status"),
            registry=registry,
        )
        seconds = Histogram(
            "fedmem_http_request_seconds",
            "Time until an answer was complete.",
            ("method", "route"),
            buckets=SECONDS,
            registry=registry,
        )
        return cls(registry, requests, seconds)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer. The labelled children are kept, because looking them up costs more than counting."""
        counter = self._children.get((method, route, status))
        if counter is None:
            counter = self._children[method, route, status] = self.requests.labels(method, route, status)
        timer = self._timers.get((method, route))
        if timer is None:
            timer = self._timers[method, route] = self.seconds.labels(method, route)
        counter.inc()
        timer.observe(seconds)


@dataclass(frozen=True)
class ModelMetrics:
    """Which models are in service, and what became of those that were to be."""

    in_service: Gauge
    swaps: Counter
    refusals: Counter
    _versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def create(cls, registry: CollectorRegistry) -> "ModelMetrics":
        """Start all at zero."""
        labels = ("dataset", "version")
        return cls(
            Gauge("fedmem_model_round", "The round of the data set's model in service.", labels, registry=registry),
            Counter("fedmem_model_swaps", "Models that were loaded into service.", ("dataset",), registry=registry),
            Counter("fedmem_model_refusals", "Models that could not be served.", registry=registry),
        )

    def swapped(self, dataset: str, version: str, round: int) -> None:
        """Count that a model went into service of a data set."""
        before = self._versions.get(dataset)
        if before is not None and before != version:
            self.in_service.remove(dataset, before)
        self._versions[dataset] = version
        self.in_service.labels(dataset, version).set(round)
        self.swaps.labels(dataset).inc()

    def removed(self, dataset: str) -> None:
        """Show no model of a data set that was removed."""
        if (version := self._versions.pop(dataset, None)) is not None:
            self.in_service.remove(dataset, version)


@dataclass(frozen=True)
class FeedbackMetrics:
    """What users did."""

    events: Counter

    @classmethod
    def create(cls, registry: CollectorRegistry) -> "FeedbackMetrics":
        """Start all at zero."""
        return cls(
            Counter(
                "fedmem_feedback_events",
                "Events that POST /feedback took, retries included.",
                ("dataset", "kind"),
                registry=registry,
            )
        )

    def took(self, dataset: str, events: Iterable[Event]) -> None:
        """Count events that were taken."""
        for kind, count in TallyOf(event.kind for event in events).items():
            self.events.labels(dataset, kind).inc(count)
