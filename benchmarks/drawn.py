"""Recommenders of any size whose histories, memories, vectors and parameters are drawn: their values cost no time."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from benchmarks.simulate import TEXT_DIM, configured
from fedmem.checkpoint import Checkpoint, Snapshot
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Item
from fedmem.features.store import FrozenVectors, ItemFeatures, UserFeatures
from fedmem.federated.start import build_model, initial_state
from fedmem.federated.state import ServerState
from fedmem.memory.entries import MemoryEntries
from fedmem.modality import Modality
from fedmem.serving import Recommender

DIMS = {Modality.TEXT: TEXT_DIM, Modality.VISUAL: 512}
SHORTEST, LONGEST = 60, 200  # histories
GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance", "Thriller")


def recommender_of(items: int, users: int) -> Recommender:
    """Make a recommender for users with long histories and full memories, one that keeps no user vector."""
    snapshot = snapshot_of(items, users)
    return Recommender.of(snapshot, checkpoint_of(snapshot), "drawn", kept_vectors=0)


def snapshot_of(items: int, users: int) -> Snapshot:
    """Draw what a run starts from: ``users`` users, and one more who knows all items."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(SHORTEST, LONGEST, users)
    sequences = [(rng.permutation(items)[:n] + 1).tolist() for n in lengths]
    # Every item occurs, so that all are known to a peer that learns of them from interactions.
    sequences.append((rng.permutation(items) + 1).tolist())
    dataset = FederatedDataset.from_sequences(sequences, items, name=f"{users} users of {items} items, generated")
    dataset = replace(dataset, items=tuple(map(film, dataset.vocabulary.items)))
    features = ItemFeatures(items, {m: drawn(rng, items, dim) for m, dim in DIMS.items()})
    preference = rng.standard_normal((dataset.num_users, TEXT_DIM)).astype(np.float32)
    present = np.ones(dataset.num_users, bool)
    return Snapshot(configured(), dataset, features, UserFeatures(preference, present))


def film(item_id: str) -> Item:
    """Make an item whose title and genres are as long as a film's."""
    number = int(item_id)
    title, genres = f"The Return of Film {number} (1995)", (GENRES[number % 6], GENRES[(number + 1) % 6])
    return Item(item_id, title, genres, 1995, text=f"{title}. {', '.join(genres)}")


def drawn(rng: np.random.Generator, items: int, dim: int) -> FrozenVectors:
    """Draw vectors for all items."""
    return FrozenVectors.fitted(list(rng.standard_normal((items, dim)).astype(np.float32)))


def checkpoint_of(snapshot: Snapshot, round: int = 0) -> Checkpoint:
    """Draw parameters, and full memories for all users but the last."""
    rng, dataset = np.random.default_rng(0), snapshot.dataset
    dim, capacity = snapshot.config.model.sasrec_hidden_dim, snapshot.config.fedmem.memory_capacity
    memories = {user: memory_of(rng, dataset.history(user), capacity, dim) for user in range(dataset.num_users - 1)}
    return Checkpoint(drawn_state(rng, snapshot, round), memories)


def drawn_state(rng: np.random.Generator, snapshot: Snapshot, round: int) -> ServerState:
    """Return the server before the first round, with noise on all parameters so that none is zero."""
    model = build_model(snapshot.config, snapshot.dataset.num_items, snapshot.features)
    state = initial_state(snapshot.config, model, snapshot.features)
    noisy = {
        name: (values + 0.05 * rng.standard_normal(values.shape)).astype(np.float32)
        for name, values in state.averaged.items()
    }
    return ServerState(round, noisy, noisy, state.optimizer, state.global_memory)


def memory_of(rng: np.random.Generator, history: npt.NDArray[np.int32], capacity: int, dim: int) -> MemoryEntries:
    """Draw a full memory of a history's items."""
    index = np.sort(rng.permutation(len(history) - 2)[:capacity]).astype(np.int32)
    ones = np.ones(capacity, np.int32)
    vectors = rng.standard_normal((capacity, dim)).astype(np.float32)
    return MemoryEntries(history[index], index, ones, ones.astype(np.float32), vectors)
