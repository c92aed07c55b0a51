"""The prototypes of jobs after each evaluated round, kept once for all sessions, and the maps they are drawn on."""

from threading import Lock

from dashboard.client import ApiClient
from fedmem.contracts import ItemMap, Job, PrototypeRound

_Key = tuple[object, ...]


class PrototypeBook:
    """Neither a map nor the prototypes of a round ever change, so each is asked for once."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._rounds: dict[_Key, dict[int, PrototypeRound]] = {}
        self._maps: dict[_Key, ItemMap] = {}
        self._lock = Lock()

    def read(self, job: Job, *, at_most: int) -> tuple[PrototypeRound, ...]:
        """The kept rounds in order, as far as they are known after so many questions; the last one is asked for first.

        Raises:
            RefusedError: with status 404 where the job keeps none.
        """
        with self._lock:
            known = self._rounds.setdefault(_key(job), {})
            if not known or max(known) + job.config.evaluation.eval_every <= job.round:
                newest = self._client.prototypes(job.id)
                known[newest.round] = newest
                at_most -= 1
            for number in _missing(known)[:at_most] if at_most > 0 else ():
                known[number] = self._client.prototypes(job.id, number)
            return tuple(known[number] for number in sorted(known))

    def map_of(self, job: Job) -> ItemMap:
        """The items on the job's map."""
        key = _key(job)
        if key not in self._maps:
            self._maps[key] = self._client.item_map(job.id)
        return self._maps[key]


def _key(job: Job) -> _Key:
    return (job.id, job.created_at)


def _missing(known: dict[int, PrototypeRound]) -> list[int]:
    newest = known[max(known)]
    return [number for number in reversed(newest.rounds) if number not in known]
