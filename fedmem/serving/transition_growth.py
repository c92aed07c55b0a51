"""How a row of a job's transition memory grew as clients took part, from their histories and when each first did."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedmem.checkpoint import RunDirectory
from fedmem.config import ExperimentConfig
from fedmem.contracts import GrowingFollower, RowGrowth
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import ConflictError, UnknownError
from fedmem.memory.transitions import UNIT, followers_in
from fedmem.serving.catalogue import ServedCatalogue
from fedmem.serving.transition_rows import FEWEST

IntArray = npt.NDArray[np.integer]
Clients = list[tuple[int, IntArray]]  # after which round each handed on, and its training history
MOST_POINTS = 100


@dataclass(frozen=True, eq=False)
class TransitionGrowth:
    """What clients handed on in a job, by the round.

    Attributes:
        config: the job's.
        dataset: what the job started from, without the users who were deleted since.
        first_rounds: after which round each user [U] had first handed anything on, 0 for not yet.
    """

    config: ExperimentConfig
    dataset: FederatedDataset
    first_rounds: IntArray

    @classmethod
    def read(cls, path: Path) -> "TransitionGrowth":
        """Read it from a run directory.

        Raises:
            ConflictError: if the run has no transition memory, or has released it with noise.
            UnknownError: if it was not noted, because no round has finished or an older version trained the run.
            CheckpointError: if the run is damaged.
        """
        directory = RunDirectory(path)
        config = directory.read_config() if directory.exists else None
        if config is not None and not config.uses_transitions:
            raise ConflictError("the job keeps no transitions: its configuration switches them off")
        if config is not None and config.releases_transitions:
            raise ConflictError("the job has released its transitions once, with noise: exact numbers are not shown")
        first = directory.checkpoints.read_first_rounds()
        if config is None or first is None:
            raise UnknownError("it was not noted how the job's rows grew: no round of this version has finished")
        return cls(config, directory.read_dataset(), first)

    def of(self, job_id: int, item_id: str, rounds: int, followers: int) -> RowGrowth:
        """Show how the greatest entries of a row grew in a job of so many rounds.

        A round is left out if fewer than 5 interactions with the row's own item were added since the one shown before:
        the difference would show what a single client did.

        Raises:
            UnknownItemError: if the job knows no such item.
        """
        catalogue = ServedCatalogue(self.dataset.items, self.dataset.num_items)
        index = catalogue.index(item_id)
        clients = self._clients(index)
        entries, shown = self._entries(index, clients), self._shown(index, clients, rounds)
        return RowGrowth(
            job_id=job_id,
            item_id=item_id,
            title=catalogue.item(index).label,
            rounds=tuple(shown),
            taken=tuple(shown.values()),
            followers=tuple(
                GrowingFollower(
                    item_id=catalogue.item(target).item_id,
                    title=catalogue.item(target).label,
                    counts=tuple(entries.count(target, at) for at in shown),
                )
                for target in (self._greatest(entries.until(max(shown)))[:followers] if shown else ())
            ),
        )

    def _clients(self, index: int) -> Clients:
        """List the clients that have handed an item on: after which round, and their training histories."""
        dataset = self.dataset
        users = np.unique(np.searchsorted(dataset.offsets, np.flatnonzero(dataset.sequence == index), "right") - 1)
        found = ((int(self.first_rounds[user]), dataset.training_history(user)) for user in users.tolist())
        return [(when, history) for when, history in found if when]

    def _entries(self, index: int, clients: Clients) -> "_Entries":
        none = np.zeros(0, np.int64)
        parts = [(none, none, none)]
        for when, history in clients:
            sources, targets, counts = followers_in(history, self.config.transitions.window, 0)
            own = sources == index
            parts.append((np.full(own.sum(), when), targets[own], counts[own]))
        return _Entries(*map(np.concatenate, zip(*parts, strict=True)))

    def _greatest(self, entries: "_Entries") -> list[int]:
        """List the items that followed most, without those that few interactions stand behind."""
        taken = self._taken()
        totals = np.bincount(entries.targets, entries.counts, len(taken))
        totals[taken < FEWEST] = 0
        order: list[int] = (-totals).argsort(kind="stable")[: np.count_nonzero(totals)].tolist()
        return order

    def _taken(self) -> IntArray:
        """Count how often each item was handed on [I + 1]."""
        dataset, users = self.dataset, np.flatnonzero(self.first_rounds)
        histories = [dataset.training_history(user) for user in users.tolist()]
        return np.bincount(np.concatenate([np.zeros(0, np.int64), *histories]), minlength=dataset.num_items + 1)

    def _shown(self, index: int, clients: Clients, rounds: int) -> dict[int, int]:
        """Choose the rounds to show, of those that validated and the last: how often the item was taken by each."""
        step = self.config.evaluation.eval_every
        step *= max(1, -(-rounds // (step * MOST_POINTS)))
        taken = [(when, int((history == index).sum())) for when, history in clients]
        shown: dict[int, int] = {}
        before = 0
        for at in [*range(step, rounds, step), rounds]:
            now = sum(times for when, times in taken if when <= at)
            if now - before >= FEWEST or (shown and now == before):
                shown[at] = before = now
        return shown


@dataclass(frozen=True, eq=False)
class _Entries:
    """What clients added to a row: after which round, to which item's entry, and how much of 1/2520 [P]."""

    when: IntArray
    targets: IntArray
    counts: IntArray

    def until(self, at: int) -> "_Entries":
        """Leave out what came after a round."""
        then = self.when <= at
        return _Entries(self.when[then], self.targets[then], self.counts[then])

    def count(self, target: int, at: int) -> float:
        """Sum an entry as it stood after a round."""
        return float(self.counts[(self.targets == target) & (self.when <= at)].sum()) / UNIT
