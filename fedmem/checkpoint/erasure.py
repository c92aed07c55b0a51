"""Erasing users from a run: their memories and what they have handed on, then history, texts and ids."""

import json
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from safetensors.numpy import load

from fedmem.checkpoint.atomic_files import DAMAGE, Array, reading, sync, write_arrays, writing
from fedmem.checkpoint.checkpoints import Checkpoints
from fedmem.checkpoint.records import dataset_of, memories_of, memory_arrays
from fedmem.checkpoint.run_directory import RunDirectory
from fedmem.checkpoint.transition_files import FILE, handed_on_of, write_transitions
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import CheckpointError
from fedmem.features.store import UserFeatures
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.handed_on import HandedOn


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
    config = directory.read_config()
    removed = _erase_from_checkpoints(
        directory.checkpoints, users, dataset, config.transitions.window, bounded=config.releases_transitions
    )
    texts = UserFeatures.from_arrays(arrays).without_users(users)
    write_arrays(path / "features.safetensors", arrays | texts.to_arrays())
    directory.write_dataset(dataset.without_users(users))
    return removed


def known_users(path: Path) -> tuple[str, ...]:
    """List the users in a run directory who were not erased.

    Raises:
        CheckpointError: if no run is there, or its files cannot be read.
    """
    return RunDirectory(path).read_dataset().vocabulary.known_users


def texts_folder(data_dir: Path) -> Path:
    """Name the folder of an installation in which jobs keep preference texts and their vectors."""
    return data_dir / "preferences"


def erase_texts(data_dir: Path) -> None:
    """Erase all preference texts that jobs keep: by its content none shows whose it is. The next job writes them anew.

    Raises:
        CheckpointError: if they cannot be removed.
    """
    folder = texts_folder(data_dir)
    with writing(folder):
        while folder.exists():  # another may remove them, too, which ends a walk half-way
            with suppress(FileNotFoundError):
                shutil.rmtree(folder)


def leftovers(path: Path) -> list[Path]:
    """List the working files in a run directory, whose memories nothing erases: a killed trainer leaves them there."""
    return RunDirectory(path).leftovers()


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
    patterns = "dataset.*", "features.*", "rounds/*/memories-*", f"rounds/*/{FILE}"
    files = sorted(file for pattern in patterns for file in path.glob(pattern))
    with writing(path):
        for file in files:
            file.unlink(missing_ok=True)
    return files


def _erase_from_checkpoints(
    checkpoints: Checkpoints, users: Collection[int], dataset: FederatedDataset, window: int, *, bounded: bool
) -> list[Path]:
    """Take these users out of every file of every checkpoint; one that is damaged is removed, and returned.

    A checkpoint that builds on another has only the transitions that were added since, and how much had been handed on
    before stands in the other: so the later ones come first.

    Raises:
        CheckpointError: naming every file that the system refuses; from all others they were erased.
    """
    removed, failures = [], []
    for folder in (checkpoints.folder_of(number) for number in reversed(checkpoints.rounds())):
        for file in (folder / FILE, *sorted(folder.glob("memories-*.safetensors"))):
            try:
                if file.name == FILE:
                    _subtract(file, checkpoints, users, dataset, window, bounded=bounded)
                else:
                    _empty(file, users)
            except CheckpointError as error:
                if file.exists():  # else its checkpoint was removed meanwhile
                    failures.append(str(error))
            except DAMAGE:
                with writing(file):
                    file.unlink(missing_ok=True)
                    sync(folder)
                removed.append(file)
    if failures:
        raise CheckpointError("; ".join(failures))
    return removed


def _subtract(
    file: Path,
    checkpoints: Checkpoints,
    users: Collection[int],
    dataset: FederatedDataset,
    window: int,
    *,
    bounded: bool,
) -> None:
    """Take these users out of the transitions of a checkpoint, exactly, if it has some."""
    if not file.exists():
        return
    stored, base = _read_transitions(file), _base(file.parent)
    before = None if base is None else _read_transitions(checkpoints.folder_of(base) / FILE)
    if any(stored.lengths[user] for user in users):
        for user in users:
            since = 0 if before is None else int(before.lengths[user])
            stored.subtract(user, dataset.training_history(user), window, since, bounded=bounded)
        write_transitions(file.parent, stored)


def _read_transitions(file: Path) -> HandedOn:
    with reading(file):
        content = file.read_bytes()
    return handed_on_of(load(content))


def _base(folder: Path) -> int | None:
    """Read on which round a checkpoint builds."""
    with reading(folder):
        content = (folder / "server.json").read_bytes()
    base: int | None = json.loads(content)["memory_base"]
    return base


def _empty(file: Path, users: Collection[int]) -> None:
    """Empty these users' memories in a file of some."""
    with reading(file):
        content = file.read_bytes()
    some = memories_of(load(content))
    erased = {user: _emptied(some[user]) for user in users if len(some.get(user, ()))}
    if erased:
        write_arrays(file, memory_arrays(some | erased))


def _emptied(entries: MemoryEntries) -> MemoryEntries:
    return MemoryEntries(**{name: values[:0] for name, values in vars(entries).items()})
