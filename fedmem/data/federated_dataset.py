"""The data set of all clients: one sequence of item indices per user, in time order, in one flat array."""

import dataclasses
import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedmem.config import DataConfig, Repeats
from fedmem.data import split
from fedmem.data.client_dataset import ClientDataset
from fedmem.data.interactions import Interactions, Item
from fedmem.data.vocabulary import Vocabulary
from fedmem.errors import ConfigError

DIGESTED_TOGETHER = 10_000  # ids

IntArray = npt.NDArray[np.int32]
LongArray = npt.NDArray[np.int64]


def _no_users() -> LongArray:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class FederatedDataset:
    """U users and I items; ``sequence[offsets[u]:offsets[u + 1]]`` are user u's item indices (1..I) in time order.

    ``items[i - 1]`` describes item index i; ``cold_users`` take no part in training though they are long enough;
    ``repeats`` says whether a user may be offered again what they have taken; no more than the newest ``max_history``
    items of a user are trained on; ``digest`` (SHA-256 over vocabulary and sequences) names the snapshot.
    """

    vocabulary: Vocabulary
    items: tuple[Item, ...]
    offsets: LongArray
    sequence: IntArray
    min_sequence_length: int = 5
    name: str = "unnamed"
    digest: str = ""
    cold_users: LongArray = field(default_factory=_no_users)
    duplicates_dropped: int = 0
    rows_skipped: int = 0
    repeats: Repeats = "hide"
    max_history: int | None = None

    def __post_init__(self) -> None:
        split.check_min_sequence_length(self.min_sequence_length)
        assert len(self.items) == self.num_items, "one Item per item index"
        assert len(self.offsets) == self.num_users + 1, "offsets [U+1]"
        assert self.offsets[-1] == len(self.sequence), "the last offset is the number of interactions"
        assert np.all((self.sequence >= 1) & (self.sequence <= self.num_items)), "item indices are 1..I"
        if not self.digest:
            object.__setattr__(self, "digest", _digest(self.vocabulary, self.offsets, self.sequence))

    @classmethod
    def from_interactions(
        cls,
        interactions: Interactions,
        items: Iterable[Item] = (),
        *,
        min_sequence_length: int = 5,
        name: str = "unnamed",
    ) -> "FederatedDataset":
        """Drop exact duplicates, number the ids and order each user's rows by (timestamp, file order).

        The catalogue is what was interacted with; an item not described in ``items`` has its id alone.
        """
        rows = interactions.without_duplicates()
        user_codes, user_ids = pd.factorize(rows.users)
        item_codes, item_ids = pd.factorize(rows.items)
        vocabulary = Vocabulary.from_ids(user_ids, item_ids)
        users = np.array([vocabulary.user_index(raw) for raw in user_ids], dtype=np.int64)[user_codes]
        sequence = np.array([vocabulary.item_index(raw) for raw in item_ids], dtype=np.int32)[item_codes]
        order = np.lexsort((rows.timestamps, users))  # stable: file order decides ties
        return cls(
            vocabulary=vocabulary,
            items=_catalogue(vocabulary, items),
            offsets=np.concatenate([[0], np.cumsum(np.bincount(users, minlength=vocabulary.num_users))]),
            sequence=sequence[order],
            min_sequence_length=min_sequence_length,
            name=name,
            duplicates_dropped=rows.duplicates_dropped,
            rows_skipped=rows.rows_skipped,
        )

    @classmethod
    def from_sequences(
        cls, sequences: Sequence[Sequence[int]], num_items: int, *, min_sequence_length: int = 5, name: str = "unnamed"
    ) -> "FederatedDataset":
        """Make users "0".."U-1" with these item indices, and items "1".."I" without texts: for tests, simulations."""
        vocabulary = Vocabulary(
            tuple(str(user) for user in range(len(sequences))), tuple(str(item) for item in range(1, num_items + 1))
        )
        lengths = [len(sequence) for sequence in sequences]
        return cls(
            vocabulary=vocabulary,
            items=_catalogue(vocabulary, ()),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            sequence=np.array([item for sequence in sequences for item in sequence], dtype=np.int32),
            min_sequence_length=min_sequence_length,
            name=name,
        )

    @property
    def num_users(self) -> int:
        """U."""
        return self.vocabulary.num_users

    @property
    def num_items(self) -> int:
        """I, without the padding."""
        return self.vocabulary.num_items

    @property
    def item_text(self) -> list[str]:
        """What the text encoder reads of each item, length I, empty where nothing is known."""
        return [item.text for item in self.items]

    @cached_property
    def lengths(self) -> LongArray:
        """Interactions per user [U]."""
        return np.diff(self.offsets)

    @cached_property
    def trainable_users(self) -> LongArray:
        """Users with at least ``min_sequence_length`` interactions that are not cold, in ascending order.

        A user who has seen the whole catalogue cannot be trained on: no negative is left.
        """
        long_enough = self.lengths >= self.min_sequence_length
        long_enough[self.cold_users] = False
        for user in np.flatnonzero(self.lengths - 2 >= self.num_items).tolist():
            long_enough[user] &= len(np.unique(self._trained_part(user))) < self.num_items
        return np.flatnonzero(long_enough)

    @property
    def evaluated_users(self) -> LongArray:
        """Users with a validation and a test target: the trainable ones."""
        return self.trainable_users

    def history(self, user: int) -> IntArray:
        """Return everything known of a user, in time order (a view)."""
        assert 0 <= user < self.num_users, f"user index {user} is outside 0..{self.num_users - 1}"
        return self.sequence[self.offsets[user] : self.offsets[user + 1]]

    def training_history(self, user: int) -> IntArray:
        """Return what may be learned from: the newest ``max_history`` of all but the last two items.

        It is empty for a user who is too short or cold.
        """
        return self._trained_part(user) if self._trainable[user] else self.history(user)[:0]

    def known_history(self, user: int) -> IntArray:
        """Return what may be counted once the test is done: the training history and, behind it, what was held out.

        Of a user who was never trained, it is as much of their history.
        """
        history = self.history(user)
        return history if self.max_history is None else history[-(self.max_history + split.HELD_OUT) :]

    def _trained_part(self, user: int) -> IntArray:
        prefix = split.train_prefix(self.history(user))
        return prefix if self.max_history is None else prefix[-self.max_history :]

    @cached_property
    def training_lengths(self) -> LongArray:
        """Items of each user that are trained on [U], as far as the user is."""
        lengths = np.where(self._trainable, self.lengths - split.HELD_OUT, 0)
        return lengths if self.max_history is None else np.minimum(lengths, self.max_history)

    def client(self, user: int) -> ClientDataset:
        """Return the training data that lives on this user's client."""
        return ClientDataset(self.training_history(user), self.num_items)

    def validation_input(self, user: int) -> IntArray:
        """Return all but the last two items."""
        return split.validation_input(self.history(user))

    def validation_target(self, user: int) -> int:
        """Return the last item but one, as an index."""
        return split.validation_target(self.history(user))

    def test_input(self, user: int) -> IntArray:
        """Return all but the last item, the validation item included."""
        return split.test_input(self.history(user))

    def test_target(self, user: int) -> int:
        """Return the last item, as an index."""
        return split.test_target(self.history(user))

    def training_popularity(self) -> LongArray:
        """Count how often each item occurs in a training history [I+1]; index 0 is padding and 0."""
        position_from_end = np.repeat(self.offsets[1:], self.lengths) - np.arange(len(self.sequence)) - split.HELD_OUT
        trained = (position_from_end > 0) & (position_from_end <= np.repeat(self.training_lengths, self.lengths))
        return np.bincount(self.sequence[trained], minlength=self.num_items + 1).astype(np.int64)

    def configured(self, config: DataConfig) -> "FederatedDataset":
        """Apply a configuration's ``repeats`` and ``max_history`` to the same data."""
        return dataclasses.replace(self, repeats=config.repeats, max_history=config.max_history)

    def with_cold_users(self, fraction: float, generator: np.random.Generator) -> "FederatedDataset":
        """Return the same data with this fraction of the trainable users, drawn at random, never trained on."""
        if not 0 <= fraction < 1:
            raise ConfigError(f"data.cold_user_fraction = {fraction} must be at least 0 and below 1")
        count = round(fraction * len(self.trainable_users))
        drawn = generator.choice(self.trainable_users, size=count, replace=False)
        return dataclasses.replace(self, cold_users=np.union1d(self.cold_users, drawn))

    def without_users(self, users: Collection[int]) -> "FederatedDataset":
        """Return the same data with neither the ids nor the interactions of these users; the digest is that of before.

        Every other user keeps their index, and so their memory in a checkpoint. An erased user is never trained on.
        """
        erased = np.isin(np.arange(self.num_users), list(users))
        offsets = np.concatenate([[0], np.cumsum(np.where(erased, 0, self.lengths))])
        sequence = self.sequence[~np.repeat(erased, self.lengths)]
        vocabulary = self.vocabulary.without_users(users)
        return dataclasses.replace(self, vocabulary=vocabulary, offsets=offsets, sequence=sequence)

    def catalogue(self) -> "FederatedDataset":
        """Return its items alone, as what is public of it: no user, no interaction."""
        items = tuple(dataclasses.replace(item, image_path=None) for item in self.items)
        return FederatedDataset(
            vocabulary=Vocabulary((), self.vocabulary.items),
            items=items,
            offsets=np.zeros(1, np.int64),
            sequence=np.zeros(0, np.int32),
            min_sequence_length=self.min_sequence_length,
            name=self.name,
            repeats=self.repeats,
            max_history=self.max_history,
        )

    def numbered_as(self, catalogue: "FederatedDataset") -> "FederatedDataset":
        """Return the same users under another catalogue's item numbers, without the items that it lacks."""
        known = {raw: index for index, raw in enumerate(catalogue.vocabulary.items, start=1)}
        numbers = np.array([0, *(known.get(raw, 0) for raw in self.vocabulary.items)], np.int32)[self.sequence]
        return dataclasses.replace(
            self,
            vocabulary=Vocabulary(self.vocabulary.users, catalogue.vocabulary.items),
            items=catalogue.items,
            offsets=np.concatenate([[0], np.cumsum(numbers > 0)])[self.offsets],
            sequence=numbers[numbers > 0],
            digest="",
        )

    @cached_property
    def _trainable(self) -> npt.NDArray[np.bool_]:
        trainable = np.zeros(self.num_users, dtype=bool)
        trainable[self.trainable_users] = True
        return trainable


def _catalogue(vocabulary: Vocabulary, items: Iterable[Item]) -> tuple[Item, ...]:
    described = {item.item_id: item for item in items}
    return tuple(described.get(raw) or Item(raw) for raw in vocabulary.items)


def _digest(vocabulary: Vocabulary, offsets: LongArray, sequence: IntArray) -> str:
    """Compute SHA-256 over ids (each with its length, so that no two lists read alike) and sequences, little-endian."""
    digest = hashlib.sha256()
    for raw_ids in (vocabulary.users, vocabulary.items):
        lengths = np.fromiter((len(raw.encode()) for raw in raw_ids), "<i8", len(raw_ids))
        digest.update(np.array([len(raw_ids)], "<i8").tobytes() + lengths.tobytes())
        for first in range(0, len(raw_ids), DIGESTED_TOGETHER):  # a million encoded ids would be large
            digest.update("".join(raw_ids[first : first + DIGESTED_TOGETHER]).encode())
    digest.update(np.ascontiguousarray(offsets, "<i8").data)
    digest.update(np.ascontiguousarray(sequence, "<i4").data)
    return digest.hexdigest()
