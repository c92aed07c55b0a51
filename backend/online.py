"""The online evaluation: shares of answers that led to something, with their intervals."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge

from backend.job_rows import time_of
from backend.settings import Settings
from fedmem.contracts import OnlineEvaluation, OnlineGroup, Rate
from fedmem.storage.impressions import By, ImpressionStore, Tally

DAY = 86_400.0
DAYS = 7.0


def evaluation_of(store: ImpressionStore, settings: Settings, dataset: str, since: float) -> OnlineEvaluation:
    """Evaluate what was noted of a data set from a time on."""

    def groups(by: By) -> tuple[OnlineGroup, ...]:
        found = map(group_of, store.tally(dataset, by, since))
        return tuple(sorted(found, key=lambda group: int(group.name))) if by == "position" else tuple(found)

    return OnlineEvaluation(
        dataset=dataset,
        since=time_of(since),
        share=settings.impressions,
        attribution_hours=settings.attribution_hours,
        by_version=groups("version"),
        by_strategy=groups("strategy"),
        by_position=groups("position"),
    )


def group_of(tally: Tally) -> OnlineGroup:
    """Show the counts of a group and what they come to."""
    return OnlineGroup(
        name=tally.group,
        answers=tally.answers,
        pending=tally.pending,
        clicks=tally.clicks,
        hits=tally.hits,
        worth=tally.worth,
        click_rate=rate(tally.clicks, tally.answers),
        hit_rate=rate(tally.hits, tally.answers),
    )


def rate(successes: int, trials: int) -> Rate | None:
    """Compute a share and its 95 % Wilson score interval (Wilson, 1927), as SciPy does; None of nothing."""
    from scipy.stats import binomtest  # takes a while, and is not needed to answer

    if trials == 0:
        return None
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return Rate(value=successes / trials, low=float(interval.low), high=float(interval.high))


@dataclass(frozen=True)
class OnlineMetrics:
    """The same for Prometheus: of the last days, renewed now and then."""

    answers: Gauge
    rates: Gauge

    @classmethod
    def create(cls, registry: CollectorRegistry) -> "OnlineMetrics":
        """Start without any."""
        labels = ("dataset", "by", "name")
        return cls(
            Gauge("fedmem_online_answers", f"Noted answers of {DAYS:.0f} days.", labels, registry=registry),
            Gauge(
                "fedmem_online_rate",
                f"Share of the noted answers of {DAYS:.0f} days that led to a click or a hit, and its 95 % interval.",
                (*labels, "outcome", "bound"),
                registry=registry,
            ),
        )

    def show(self, evaluations: list[OnlineEvaluation]) -> None:
        """Replace what was shown."""
        self.answers.clear()
        self.rates.clear()
        for found in evaluations:
            for by, group in _groups(found):
                self.answers.labels(found.dataset, by, group.name).set(group.answers)
                for outcome, value in (("click", group.click_rate), ("hit", group.hit_rate)):
                    for bound, number in {} if value is None else value.model_dump().items():
                        self.rates.labels(found.dataset, by, group.name, outcome, bound).set(number)


def _groups(found: OnlineEvaluation) -> Iterator[tuple[By, OnlineGroup]]:
    yield from (("version", group) for group in found.by_version)
    yield from (("strategy", group) for group in found.by_strategy)
    yield from (("position", group) for group in found.by_position)
