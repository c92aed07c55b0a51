"""What a node keeps on its own disk for one run: the catalogue it was sent, its clients' data and their memories.

::

    DIR/RUN/setup.safetensors    configuration, catalogue and item features, as the server sent them
            dataset.*            the node's own users, as they were when the run began
            users.safetensors    their encoded preference texts
            memories             the present memories and how much of each history was handed on
            memories-000010      the same as they stood when round 10 was validated
            rounds.json          which rounds wrote memories, and the newest request

A round's memories count from the next round on. One whose answer did not arrive is forgotten when the server says so,
so that nothing is counted twice, and a request that is repeated is answered with the same numbers.
"""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fedmem.checkpoint.atomic_files import (
    read_arrays,
    read_json,
    reading,
    write_arrays,
    write_bytes,
    write_json,
    writing,
)
from fedmem.checkpoint.records import dataset_arrays, dataset_of, dataset_record
from fedmem.config import ExperimentConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import CheckpointError
from fedmem.features.store import UserFeatures
from fedmem.federated.simulation import SCRATCH
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.memory_store import MemoryStore
from fedmem.nodes.letter import Letter


class NodeStore:
    """One run's folder in a node's store.

    Args:
        store: the node's folder.
        run: names the run; never used as a path.
    """

    def __init__(self, store: Path, run: str) -> None:
        self.path = store / hashlib.sha256(run.encode()).hexdigest()[:16]

    @property
    def ready(self) -> bool:
        """Whether the run was set up here."""
        return (self.path / "setup.safetensors").exists()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Answer one request at a time."""
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)  # it holds what users took
            lock = (self.path / "lock").open("w")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in self.path.glob(f"{SCRATCH}*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            yield

    def set_up(self, setup: Letter, dataset: FederatedDataset, user_features: UserFeatures) -> None:
        """Write what the run begins with; the setup last, which says that it is whole."""
        for path in self.path.glob("memories*"):
            path.unlink()
        write_arrays(self.path / "dataset.safetensors", dataset_arrays(dataset))
        write_json(self.path / "dataset.json", dataset_record(dataset))
        write_arrays(self.path / "users.safetensors", user_features.to_arrays())
        write_json(self.path / "rounds.json", {"written": [], "order": 0})
        write_bytes(self.path / "setup.safetensors", setup.to_bytes())

    def setup(self) -> Letter:
        """Read what the server sent."""
        with reading(self.path / "setup.safetensors"):
            return Letter.from_bytes((self.path / "setup.safetensors").read_bytes())

    def dataset(self) -> FederatedDataset:
        """Read the node's users."""
        with reading(self.path):
            return dataset_of(read_json(self.path / "dataset.json"), read_arrays(self.path / "dataset.safetensors"))

    def user_features(self) -> UserFeatures:
        """Read their encoded preference texts."""
        return UserFeatures.from_arrays(read_arrays(self.path / "users.safetensors"))

    def heed_order(self, order: int) -> None:
        """Refuse a request that is older than one that was answered: its round is over."""
        journal = self._journal()
        if order < journal["order"]:
            raise CheckpointError("the request is older than one that this node has answered: its round is over.")
        self._write_journal(journal | {"order": order})

    def forget(self, missed: Sequence[int], config: ExperimentConfig, num_users: int) -> None:
        """Forget the memories of rounds whose answers the server did not take."""
        journal = self._journal()
        for round_number in set(missed) & set(journal["written"]):
            with closing(_opened(self.path / "memories", config, num_users)) as memories:
                memories.forget_round(round_number)
            journal["written"].remove(round_number)
        self._write_journal(journal)

    def remembered(self, round_number: int, config: ExperimentConfig, num_users: int) -> dict[int, MemoryEntries]:
        """Read what users remembered after a number of completed rounds, by their numbers here.

        Raises:
            CheckpointError: as ``memories``.
        """
        path = self.memories(round_number, to_train=False)
        with closing(_opened(path, config, num_users)) as memories:
            users = memories.occupied(np.arange(num_users), round_number)
            found = memories.read(users, round_number)
        return {user: found.entries(row) for row, user in enumerate(users.tolist())}

    def begin_round(self, round_number: int) -> None:
        """Note, before it is done, that memories of this number of completed rounds are written."""
        journal = self._journal()
        written = [done for done in journal["written"] if done < round_number]
        self._write_journal(journal | {"written": [*written, round_number]})

    def memories(self, round_number: int, *, to_train: bool) -> Path:
        """Find the file that holds the memories as they stood after a number of completed rounds.

        Raises:
            CheckpointError: if they went on since, and none was kept of that round.
        """
        later = [done for done in self._journal()["written"] if done > round_number]
        present, kept = self.path / "memories", self._kept(round_number)
        if len(later) <= 1:  # each memory keeps the version before its last
            return present
        if not kept.exists():
            raise CheckpointError(
                f"its memories are those after round {later[-1]} and can no longer be those after round {round_number}."
            )
        if to_train:
            self._go_back(kept, round_number)
            return present
        return kept

    def keep(self, round_number: int, most: int) -> None:
        """Keep a copy of the memories of a validated round, and of the newest ``most`` such rounds."""
        present, kept = self.path / "memories", self._kept(round_number)
        if present.exists() and self.memories(round_number, to_train=False) == present:
            with writing(kept):
                beside = kept.with_name(f".{kept.name}")
                shutil.copyfile(present, beside)
                beside.replace(kept)
        for old in sorted(self.path.glob("memories-*"))[:-most]:
            old.unlink()

    def _go_back(self, kept: Path, round_number: int) -> None:
        with writing(self.path):
            beside = self.path / ".memories"
            shutil.copyfile(kept, beside)
            beside.replace(self.path / "memories")
        journal = self._journal()
        self._write_journal(journal | {"written": [done for done in journal["written"] if done <= round_number]})

    def _kept(self, round_number: int) -> Path:
        return self.path / f"memories-{round_number:06d}"

    def _journal(self) -> dict[str, Any]:
        return read_json(self.path / "rounds.json")

    def _write_journal(self, journal: dict[str, Any]) -> None:
        write_json(self.path / "rounds.json", journal)


def _opened(path: Path, config: ExperimentConfig, num_users: int) -> MemoryStore:
    return MemoryStore(path, num_users, config.fedmem.memory_capacity, config.model.sasrec_hidden_dim)
