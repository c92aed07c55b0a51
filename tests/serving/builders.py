"""Recommenders with drawn parameters and memories: every part takes part in the score, and nothing is trained."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fedmem.checkpoint import Checkpoint, Snapshot
from fedmem.contracts import Selection
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Item
from fedmem.federated.start import build_model, initial_state
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.transitions import TransitionCounts
from fedmem.serving import Question, Recommender
from tests.tiny import ITEMS, tiny_config, tiny_dataset, tiny_snapshot

DIM = 8
CAPACITY = 6
GENRES = ("Comedy", "Drama", "War")
SHORT_USER, EMPTY_USER = "0", "stranger"


def dataset_with_genres() -> FederatedDataset:
    """User 0 is too short to be trained on; item i has genres by its index, item 30 none."""
    sequences = [[3, 8], *(tiny_dataset(11).history(user).tolist() for user in range(11))]
    dataset = FederatedDataset.from_sequences(sequences, ITEMS, name="with genres")
    return replace(dataset, items=tuple(map(described, dataset.items)), digest="")


def described(item: Item) -> Item:
    """An item with a title and genres."""
    index = int(item.item_id)
    genres = tuple(genre for bit, genre in enumerate(GENRES) if index % (bit + 2) == 0) if index < ITEMS else ()
    return replace(item, title=f"Film {index}", genres=genres, year=1990 + index)


def drawn_snapshot(*, text: bool = True, image: bool = True, preferences: bool = True, **changes: Any) -> Snapshot:
    """A snapshot with the tiny configuration, changed."""
    return tiny_snapshot(tiny_config(**changes), dataset_with_genres(), text=text, image=image, preferences=preferences)


def drawn_memory(history: Sequence[int], rng: np.random.Generator) -> MemoryEntries:
    """Some of a history's items, each once."""
    items, last = np.unique(np.asarray(history)[::-1], return_index=True)
    index = len(history) - 1 - last
    kept = np.sort(rng.permutation(len(items))[:CAPACITY])
    kept = kept[np.argsort(index[kept])]
    n = len(kept)
    return MemoryEntries(
        items[kept].astype(np.int32),
        index[kept].astype(np.int32),
        np.ones(n, np.int32),
        np.ones(n, np.float32),
        rng.standard_normal((n, DIM)).astype(np.float32),
    )


def drawn_checkpoint(snapshot: Snapshot, *, noise: float = 0.3, seed: int = 0) -> Checkpoint:
    """Noise on all parameters, and memories of the trained users, one of them empty."""
    rng = np.random.default_rng(seed)
    model = build_model(snapshot.config, snapshot.dataset.num_items, snapshot.features)
    state = initial_state(snapshot.config, model, snapshot.features)
    noisy = {
        name: (values + noise * rng.standard_normal(values.shape)).astype(np.float32)
        for name, values in state.averaged.items()
    }
    noisy["sasrec.item_embedding"][0] = 0
    memories = {user: drawn_memory(snapshot.dataset.history(user), rng) for user in snapshot.dataset.trainable_users}
    last = int(snapshot.dataset.trainable_users[-1])
    memories[last] = memories[last].take(np.zeros(0, np.int64))
    strengths = {"strength": 0.5, "short_strengths": {1: 1.5, 8: 0.2}}
    state = replace(state, averaged=noisy, round=7, transitions=transitions_of(snapshot), **strengths)
    handed_on = snapshot.dataset.training_lengths.copy()
    return Checkpoint(state, {int(user): m for user, m in memories.items()}, handed_on)


def transitions_of(snapshot: Snapshot) -> TransitionCounts:
    """What all clients together hand on."""
    dataset, window = snapshot.dataset, snapshot.config.transitions.window
    return TransitionCounts.of([dataset.training_history(user) for user in dataset.trainable_users], ITEMS, window)


def drawn_recommender(**options: Any) -> Recommender:
    """A recommender of both."""
    snapshot = drawn_snapshot(**options)
    return Recommender.of(snapshot, drawn_checkpoint(snapshot), "drawn")


def ask(user_id: str | None = None, **parts: Any) -> Question:
    """A question whose selection's fields stand beside its own: ``ask("3", since=("1",), k=5)``."""
    own = {name: parts.pop(name) for name in ("history", "since") if name in parts}
    own |= {"memory": parts.pop("entries")} if "entries" in parts else {}
    return Question(user_id, selection=Selection(**parts), **own)


def asking(question: Question, **fields: Any) -> Question:
    """The question with other fields of its selection."""
    return replace(question, selection=question.selection.model_copy(update=fields))
