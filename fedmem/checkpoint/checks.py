"""Whether what was read of a run fits together: of the right shapes, it may name items and users there are not."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fedmem.checkpoint.checkpoints import Checkpoint
from fedmem.checkpoint.run_directory import Snapshot
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import CheckpointError
from fedmem.federated.state import ServerState
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.transitions import TransitionCounts

LongArray = npt.NDArray[np.int64]


def check_fits(snapshot: Snapshot, checkpoint: Checkpoint, where: str) -> None:
    """Check that sequences, features and memories are of the same users and items.

    Raises:
        CheckpointError: naming what does not fit; ``where`` says of which run.
    """
    dataset = snapshot.dataset
    wrong = (
        _wrong_sequences(dataset)
        or _wrong_parameters(checkpoint.server)
        or _wrong_features(snapshot)
        or _wrong_memories(checkpoint.memories, dataset)
        or _wrong_transitions(checkpoint, dataset)
    )
    if wrong:
        raise CheckpointError(f"{where}: {wrong}. The run is damaged; train it anew.")


def _wrong_parameters(server: ServerState) -> str:
    for name, values in {**server.parameters, **server.averaged}.items():
        if values.dtype.kind != "f":  # numbers that are not finite are those of a run that diverged
            return f"the parameters {name} are of the type {values.dtype}"
    return ""


def _wrong_sequences(dataset: FederatedDataset) -> str:
    """Look for what ``FederatedDataset`` does not look for itself."""
    if dataset.offsets[0] != 0 or (np.diff(dataset.offsets) < 0).any():
        return "the sequences' offsets do not divide the interactions among the users"
    if _outside(dataset.cold_users, 0, dataset.num_users - 1):
        return f"cold users are named that are not among the {dataset.num_users}"
    return ""


def _wrong_features(snapshot: Snapshot) -> str:
    items, users = snapshot.dataset.num_items, snapshot.dataset.num_users
    for modality, vectors in snapshot.features.vectors.items():
        if len(vectors.rows) != items + 1 or vectors.mask.shape != (items + 1,):
            return f"the {modality} features are not those of {items} items"
        if vectors.rows.dtype.kind != "f" or not np.isfinite(vectors.rows).all():
            return f"the {modality} features hold what is no number"
    preference = snapshot.user_features.preference
    if len(snapshot.user_features.mask) != users or (preference is not None and len(preference) != users):
        return f"the preference texts are not those of {users} users"
    return ""


def _wrong_memories(memories: Mapping[int, MemoryEntries], dataset: FederatedDataset) -> str:
    """Compare what users remember with what they took: entries that were shifted are another user's."""
    if not memories:
        return ""
    users = np.repeat(np.array(list(memories)), [len(entries) for entries in memories.values()])
    if _outside(np.array(list(memories)), 0, dataset.num_users - 1):
        return f"memories are of users that are not among the {dataset.num_users}"
    items = np.concatenate([entries.items for entries in memories.values()])
    if _outside(items, 1, dataset.num_items):
        return f"memories hold items that are not among the {dataset.num_items} of the catalogue"
    taken = np.repeat(np.arange(dataset.num_users), dataset.lengths)
    # Of a user who was deleted there is no history, and there may be a memory still that is about to be erased.
    asked, known = _pairs(users, items, dataset), np.sort(_pairs(taken, dataset.sequence, dataset))
    found = (
        np.take(known, np.searchsorted(known, asked), mode="clip") == asked
        if len(known)
        else np.zeros(len(asked), bool)
    )
    strange = (dataset.lengths[users] > 0) & ~found
    if strange.any():
        return f"the memory of user index {users[strange][0]} holds an item that the user never took"
    return ""


def _wrong_transitions(checkpoint: Checkpoint, dataset: FederatedDataset) -> str:
    counts, handed_on = checkpoint.server.transitions, checkpoint.handed_on
    if counts is None or handed_on is None:
        return ""
    if counts.num_items != dataset.num_items or (counts.taken < 0).any() or _negative_pairs(counts):
        return f"the transitions are not those of {dataset.num_items} items"
    if len(handed_on) != dataset.num_users or (handed_on < 0).any():
        return f"what was handed on is not that of {dataset.num_users} users"
    if ((handed_on > dataset.lengths) & (dataset.lengths > 0)).any():  # a deleted user's may be about to be erased
        return "users have handed on other interactions than theirs"
    return ""


def _negative_pairs(counts: TransitionCounts) -> bool:
    """Tell whether pairs were counted less than never; cells of a sketch may be below zero."""
    return not counts.in_cells and bool((counts.pairs.data < 0).any())


def _pairs(users: npt.NDArray[np.integer], items: npt.NDArray[np.integer], dataset: FederatedDataset) -> LongArray:
    return users.astype(np.int64) * (dataset.num_items + 1) + items


def _outside(values: npt.NDArray[np.integer], least: int, most: int) -> bool:
    return bool(len(values)) and not (least <= values.min() and values.max() <= most)
