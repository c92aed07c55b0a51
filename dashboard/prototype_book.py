"""The prototypes of jobs after each evaluated round, kept once for all sessions, and the maps they are drawn on."""

from collections.abc import Sequence

from dashboard.client import ApiClient
from dashboard.keyed_cache import KeyedCache
from fedmem.contracts import ItemMap, Job, PrototypeRound

MOST_JOBS, MOST_ROUNDS = 16, 100


class PrototypeBook:
    """Neither a map nor the prototypes of a round ever change, so each is asked for once."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._rounds: KeyedCache[dict[int, PrototypeRound]] = KeyedCache(MOST_JOBS)
        self._maps: KeyedCache[ItemMap | None] = KeyedCache(MOST_JOBS)

    def read(self, job: Job, *, at_most: int) -> tuple[PrototypeRound, ...]:
        """Read the kept rounds in order, as far as known after this many questions; the last one is asked for first.

        Of more than MOST_ROUNDS, every second is left out, or three of four, and so on.

        Raises:
            RefusedError: with status 404 where the job keeps none.
        """
        with self._rounds.entry(_key(job), {}) as entry:
            known = entry.value
            if not known or max(known) + job.config.evaluation.eval_every <= job.round:
                newest = self._client.prototypes(job.id)
                known[newest.round] = newest
                at_most -= 1
            wanted = _spread(known[max(known)].rounds)
            for number in [each for each in reversed(wanted) if each not in known][: max(0, at_most)]:
                known[number] = self._client.prototypes(job.id, number)
            entry.value = {number: known[number] for number in wanted if number in known}
            return tuple(entry.value.values())

    def map_of(self, job: Job) -> ItemMap:
        """Read the items on the job's map."""
        with self._maps.entry(_key(job), None) as entry:
            if entry.value is None:
                entry.value = self._client.item_map(job.id)
            return entry.value


def _key(job: Job) -> tuple[object, ...]:
    return (job.id, job.created_at)


def _spread(rounds: Sequence[int]) -> list[int]:
    """Choose about MOST_ROUNDS of the rounds, the same again when more come, and always the last."""
    step = 1
    while len(rounds) > step * MOST_ROUNDS:
        step *= 2
    return sorted({*rounds[::step], *rounds[-1:]})
