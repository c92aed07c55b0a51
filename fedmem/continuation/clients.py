"""What clients hold, for their newer histories: memories, and how much each has handed on to the transition memory."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fedmem.config import TransitionsConfig
from fedmem.continuation.renumbering import Indices, Renumbering
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.memory.count_sketch import sketched
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.handed_on import HandedOn
from fedmem.memory.transitions import TransitionCounts

Memories = Mapping[int, MemoryEntries]


@dataclass(frozen=True, eq=False)
class CarriedClients:
    """The clients of an older snapshot in a newer.

    A history that goes on where it ended keeps all. One that was changed further back, by interactions that came late
    or left, has its memory found again in it, and hands on its transitions anew: what it had handed on is taken out.

    Attributes:
        before: the older snapshot's data.
        after: the newer one's.
        places: where its users and items stand.
        transitions: how they are counted.
    """

    before: FederatedDataset
    after: FederatedDataset
    renumbering: Renumbering
    transitions: TransitionsConfig

    def memories(self, stored: Iterable[Memories]) -> Iterator[dict[int, MemoryEntries]]:
        """Carry the memories of users, some at a time."""
        for some in stored:
            found = {user: self._memory(user, entries) for user, entries in some.items() if self._now(user) >= 0}
            if found:
                yield {self._now(user): entries for user, entries in found.items()}

    def _now(self, user: int) -> int:
        return int(self.renumbering.users[user])

    def _memory(self, user: int, entries: MemoryEntries) -> MemoryEntries:
        items = self.renumbering.items[entries.items].astype(np.int32)
        moved = MemoryEntries(items, entries.index, entries.frequency, entries.surprise, entries.id_embedding)
        return moved if self._goes_on[user] else _found_again(moved, self.after.training_history(self._now(user)))

    def handed_on(self, stored: HandedOn | None) -> HandedOn:
        """Carry the transition memory; of one that was lost to damage all is handed on anew."""
        lengths = np.zeros(self.renumbering.num_users, np.int64)
        if stored is None:
            return HandedOn(sketched(TransitionCounts.none(self.renumbering.num_items), self.transitions), lengths)
        kept = np.flatnonzero(self._goes_on)
        lengths[self.renumbering.users[kept]] = stored.lengths[kept]
        counts = self._sketched_anew(lengths) if self._in_cells(stored) else self._renumbered(stored)
        return HandedOn(counts, lengths)

    def _in_cells(self, stored: HandedOn) -> bool:
        return stored.counts.in_cells or self.transitions.sketch_bits is not None

    def _sketched_anew(self, lengths: Indices) -> TransitionCounts:
        """Count what was handed on [U] again: where cells hold it, it cannot be found by other numbers of the items."""
        histories = [self.after.training_history(user)[:length] for user, length in enumerate(lengths.tolist())]
        found = TransitionCounts.of(histories, self.renumbering.num_items, self.transitions.window)
        return sketched(found, self.transitions)

    def _renumbered(self, stored: HandedOn) -> TransitionCounts:
        """Take out of the pairs those who do not go on, and name the items as they are now."""
        counts = stored.counts
        gone = np.flatnonzero((stored.lengths > 0) & ~self._goes_on)
        if len(gone):
            histories = [self.before.training_history(user)[: stored.lengths[user]] for user in gone.tolist()]
            counts = counts - TransitionCounts.of(histories, counts.num_items, self.transitions.window)
        return _renumbered(counts, self.renumbering)

    @cached_property
    def _goes_on(self) -> npt.NDArray[np.bool_]:
        """Whether a user's training history now begins with what it was [U]."""
        return np.array([self._begins_alike(user) for user in range(len(self.renumbering.users))], bool)

    def _begins_alike(self, user: int) -> bool:
        if self._now(user) < 0:
            return False
        was = self.renumbering.items[self.before.training_history(user)]
        return np.array_equal(was, self.after.training_history(self._now(user))[: len(was)])


def _found_again(entries: MemoryEntries, history: npt.NDArray[np.int32]) -> MemoryEntries:
    """Give each entry the index at which its item stands last in a history, and leave out those that it lacks."""
    last = {item: index for index, item in enumerate(history.tolist())}
    index = np.array([last.get(item, -1) for item in entries.items.tolist()], np.int32)
    order = np.argsort(index, kind="stable")
    moved = MemoryEntries(entries.items, index, entries.frequency, entries.surprise, entries.id_embedding)
    return moved.take(order[index[order] >= 0])


def _renumbered(counts: TransitionCounts, renumbering: Renumbering) -> TransitionCounts:
    """Count the same of items by their indices now. Of an item that is gone, nothing is left to count."""
    pairs, size = counts.pairs.tocoo(), renumbering.num_items + 1
    row, column = renumbering.items[pairs.row], renumbering.items[pairs.col]
    kept = (row > 0) & (column > 0)
    moved = sparse.coo_array((pairs.data[kept], (row[kept], column[kept])), shape=(size, size)).tocsr()
    taken: Indices = np.zeros(size, np.int64)
    taken[renumbering.items[renumbering.kept_items]] = counts.taken[renumbering.kept_items]
    return TransitionCounts(moved, taken)
