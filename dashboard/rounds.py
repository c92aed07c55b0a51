"""The rounds of jobs as far as they are known, kept once for all sessions."""

from collections import OrderedDict
from threading import Lock

from dashboard.client import ROUNDS_AT_ONCE, ApiClient
from fedmem.contracts import Job, RoundMetrics

MOST_JOBS = 64
_Key = tuple[object, ...]


class RoundBook:
    """Rounds never change once they are finished, so each is asked for once."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._rounds: OrderedDict[_Key, tuple[RoundMetrics, ...]] = OrderedDict()
        self._lock = Lock()

    def read(self, job: Job) -> tuple[RoundMetrics, ...]:
        """All rounds of a job, in order. Asks only if the job is further than what is known."""
        # Another database counts its jobs from one again; and the end of a job adds the test metrics to its best round.
        key = (job.id, job.created_at, job.finished_at)
        with self._lock:
            known = self._rounds.pop(key, ())
            try:
                known = self._news(job, known)
            finally:
                self._keep(key, known)
        return known

    def _news(self, job: Job, known: tuple[RoundMetrics, ...]) -> tuple[RoundMetrics, ...]:
        while job.started_at is not None and (not known or known[-1].round < job.round):
            news = self._client.metrics(job.id, known[-1].round if known else -1).rounds
            known += news
            if len(news) < ROUNDS_AT_ONCE:
                break
        return known

    def _keep(self, key: _Key, known: tuple[RoundMetrics, ...]) -> None:
        self._rounds[key] = known
        while len(self._rounds) > MOST_JOBS:
            self._rounds.popitem(last=False)
