"""Erasing users from a run: their memories and what they have handed on, then history, texts and ids."""

import json
from collections.abc import Collection
from pathlib import Path

from safetensors.numpy import load

from fedmem.checkpoint.atomic_files import DAMAGE, Array, reading, sync, write_arrays, writing
from fedmem.checkpoint.checkpoints import Checkpoints
from fedmem.checkpoint.records import dataset_of, memories_of, memory_arrays
from fedmem.checkpoint.run_directory import RunDirectory
from fedmem.checkpoint.transition_files import remove_transitions, subtract
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import CheckpointError
from fedmem.features.store import UserFeatures
from fedmem.memory.entries import MemoryEntries


def erase_users(path: Path, user_ids: Collection[str]) -> list[Path]:
    """Erase these users from a run directory: what they remember and have handed on, history, texts and ids.

    Where no run has begun there is nothing to erase. What is damaged cannot be searched, nor can any model be read from
    it: it is removed. The ids go last, so that an erasure that was cut off can be done again.

    Returns:
        The files that were removed.

    Raises:
        CheckpointError: naming every file that cannot be read or written; all others were erased.
    """
    directory = RunDirectory(path)
    if not directory.exists or not user_ids:
        return []
    try:
        dataset, arrays = _read_erasable(path)
    except CheckpointError:  # the system's refusal, which says nothing of what is in the files
        raise
    except DAMAGE:
        return _remove_damaged(path)
    users = [index for user_id in user_ids if (index := dataset.vocabulary.find_user(user_id)) is not None]
    if not users:
        return []
    window = directory.read_config().transitions.window
    removed = _subtract_transitions(directory.checkpoints, users, dataset, window) + _erase_memories(path, users)
    texts = UserFeatures.from_arrays(arrays).without_users(users)
    write_arrays(path / "features.safetensors", arrays | texts.to_arrays())
    directory.write_dataset(dataset.without_users(users))
    return removed


def _read_erasable(path: Path) -> tuple[FederatedDataset, dict[str, Array]]:
    """Read what names users, or raise what damage raises; CheckpointError where a file cannot be opened."""
    names = "dataset.json", "dataset.safetensors", "features.safetensors"
    if missing := [name for name in names if not (path / name).exists()]:
        raise LookupError(f"{missing[0]} is missing")
    contents = []
    for name in names:
        with writing(path / name):  # whose error is that of the system, not of what the file holds
            contents.append((path / name).read_bytes())
    record, sequences, features = contents
    return dataset_of(json.loads(record), load(sequences)), load(features)


def _remove_damaged(path: Path) -> list[Path]:
    """Remove what may hold users of a snapshot that cannot be read; without it nothing else here can be used."""
    patterns = "dataset.*", "features.*", "rounds/*/memories-*"
    files = sorted(file for pattern in patterns for file in path.glob(pattern))
    with writing(path):
        for file in files:
            file.unlink(missing_ok=True)
    return files


def _subtract_transitions(
    checkpoints: Checkpoints, users: Collection[int], dataset: FederatedDataset, window: int
) -> list[Path]:
    """Take what these users have handed on out of every checkpoint, those that build on others first."""
    removed = []
    for number in reversed(checkpoints.rounds()):
        folder = checkpoints.folder_of(number)
        try:
            base = checkpoints.base_of(number)
            subtract(folder, None if base is None else checkpoints.folder_of(base), dataset, window, users)
        except DAMAGE:
            removed += remove_transitions(folder)
    return removed


def _erase_memories(path: Path, users: Collection[int]) -> list[Path]:
    """Empty these users' memories in every checkpoint."""
    removed, failures = [], []
    for file in sorted(path.glob("rounds/[0-9]*/memories-*.safetensors")):
        try:
            if not _erase(file, users):
                removed.append(file)
        except CheckpointError as error:
            if file.exists():  # else its checkpoint was removed meanwhile
                failures.append(str(error))
    if failures:
        raise CheckpointError("; ".join(failures))
    return removed


def _erase(path: Path, users: Collection[int]) -> bool:
    """Erase these users from a file of memories; if it is unreadable, remove it and return False."""
    with reading(path):
        content = path.read_bytes()
    try:
        some = memories_of(load(content))
    except DAMAGE:
        with writing(path):
            path.unlink()
            sync(path.parent)
        return False
    erased = {user: _emptied(some[user]) for user in users if len(some.get(user, ()))}
    if erased:
        write_arrays(path, memory_arrays(some | erased))
    return True


def _emptied(entries: MemoryEntries) -> MemoryEntries:
    return MemoryEntries(**{name: values[:0] for name, values in vars(entries).items()})
