"""The rounds of jobs as far as they are known, kept once for all sessions."""

from dashboard.client import ROUNDS_AT_ONCE, ApiClient
from dashboard.keyed_cache import KeyedCache
from fedmem.contracts import Job, RoundMetrics

MOST_JOBS, MOST_SINGLE = 64, 1024
Rounds = tuple[RoundMetrics, ...]


class RoundBook:
    """Rounds never change once they are finished, so each is asked for once."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._rounds: KeyedCache[Rounds] = KeyedCache(MOST_JOBS)
        self._first: KeyedCache[Rounds] = KeyedCache(MOST_SINGLE)
        self._last: KeyedCache[Rounds] = KeyedCache(MOST_SINGLE)

    def read(self, job: Job) -> Rounds:
        """Read all rounds of a job, in order; ask only if the job is further than what is known."""
        with self._rounds.entry(_key(job), ()) as entry:
            while job.started_at is not None and (not entry.value or entry.value[-1].round < job.round):
                after = entry.value[-1].round if entry.value else -1
                news = self._client.metrics(job.id, after).rounds
                entry.value += news
                if len(news) < ROUNDS_AT_ONCE:
                    break
            return entry.value

    def first(self, job: Job) -> Rounds:
        """Read round 0 of a job, which holds the baselines, without the others; nothing where there is none yet."""
        with self._first.entry(_key(job), ()) as entry:
            entry.value = entry.value or self._client.metrics(job.id, limit=1).rounds
            return entry.value

    def last(self, job: Job) -> RoundMetrics | None:
        """Read the last round of a job that has ended, without the others."""
        with self._last.entry(_key(job), ()) as entry:
            if not entry.value and job.round:
                entry.value = self._client.metrics(job.id, job.round - 1).rounds
            return entry.value[-1] if entry.value else None


def _key(job: Job) -> tuple[object, ...]:
    # Another database counts its jobs from one again; and the end of a job adds the test metrics to its best round.
    return (job.id, job.created_at, job.finished_at)
