"""Notes a sample of the answers for the online evaluation: in memory at first, soon after in the database."""

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter

from backend.online import DAY, DAYS, evaluation_of
from backend.settings import Settings
from fedmem.contracts import OnlineEvaluation
from fedmem.errors import StorageError
from fedmem.identifiers import MAX_ID_BYTES
from fedmem.serving import Recommendation
from fedmem.storage.impressions import ImpressionStore, ShownList

LOG = logging.getLogger(__name__)
POSITIONS = 20  # of an answer that are noted
WAITING = 10_000  # answers at most that are noted and not yet stored
TOGETHER = 1_000  # answers stored in one transaction
TIDY_SECONDS = 60.0


def new_id() -> str:
    """Name an answer."""
    return uuid.uuid4().hex


def is_sampled(recommendation_id: str, share: float) -> bool:
    """Say whether an answer is one of the share that is noted: chance, which its name alone decides."""
    return int(recommendation_id[:8], 16) < share * 2**32


@dataclass(eq=False)
class Impressions:
    """The answers that are to be noted. Any thread may offer; what stores may wait for the database.

    Attributes:
        store: where they are noted.
        settings: which share of them, and how long they are kept.
        lost: counts those that came faster than they could be stored, and those that the database refuses.
    """

    store: ImpressionStore
    settings: Settings
    lost: Counter
    clock: Callable[[], float] = time.time
    _waiting: deque[ShownList] = field(default_factory=deque)
    _storing: threading.Lock = field(default_factory=threading.Lock)
    _tidied: float = field(init=False)

    def __post_init__(self) -> None:
        self._tidied = self.clock()

    @classmethod
    def create(cls, store: ImpressionStore, settings: Settings, registry: CollectorRegistry) -> "Impressions":
        """Start without any."""
        what = "Answers that were to be noted and came too fast to be stored, or were refused by the database."
        return cls(store, settings, Counter("fedmem_impressions_lost", what, registry=registry))

    def offer(self, recommendation_id: str, user_id: str, answer: Recommendation, test_id: int | None = None) -> None:
        """Note an answer if it is one of the sample; ``test_id`` is the A/B test that it is of.

        None of an id that no user can have, which a caller may make as long as a request.
        """
        if len(user_id.encode(errors="surrogatepass")) > MAX_ID_BYTES:
            return
        if not answer.items or not is_sampled(recommendation_id, self.settings.impressions):
            return
        if len(self._waiting) >= WAITING:
            self.lost.inc()
            return
        items = tuple(scored.item.item_id for scored in answer.items[:POSITIONS])
        self._waiting.append(
            ShownList(
                answer.dataset,
                recommendation_id,
                user_id,
                answer.model_version,
                answer.strategy,
                self.clock(),
                answer.offset + 1,
                items,
                test_id,
            )
        )

    def flush(self) -> None:
        """Store what was noted; what cannot be stored now is kept for the next time.

        Raises:
            StorageError: if the database cannot be used.
        """
        with self._storing:
            # By place: others may offer meanwhile, and what grows cannot be iterated over.
            while some := [self._waiting[place] for place in range(min(len(self._waiting), TOGETHER))]:
                self._store(some)
                for _ in some:  # only now: they are offered again where the database is away
                    self._waiting.popleft()

    def _store(self, some: Sequence[ShownList]) -> None:
        """Store answers; one that the database refuses keeps no others back, and is not tried again."""
        try:
            self.store.add(some)
        except StorageError:  # it is away, for all of them
            raise
        except Exception as error:
            if len(some) == 1:
                self.lost.inc()
                LOG.error("an answer is not noted, for the database refuses it (%s: %s)", type(error).__name__, error)
                return
            middle = len(some) // 2
            self._store(some[:middle])
            self._store(some[middle:])

    def evaluate(self, dataset: str, days: float = DAYS) -> OnlineEvaluation:
        """Evaluate what was noted of a data set in the last days."""
        return evaluation_of(self.store, self.settings, dataset, self.clock() - days * DAY)

    @property
    def due(self) -> bool:
        """Whether it is time to tidy again."""
        return self.clock() - self._tidied >= TIDY_SECONDS

    def tidy(self) -> None:
        """Delete what is too old or too much."""
        self._tidied = self.clock()
        self.store.keep(self.settings.impression_days, self.settings.max_impressions)
