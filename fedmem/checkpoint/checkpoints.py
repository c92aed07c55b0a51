"""The states of a run after its rounds: a folder each, whole or not there."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedmem.checkpoint.atomic_files import (
    read_arrays,
    read_json,
    reading,
    sync,
    write_arrays,
    write_json,
    writing,
)
from fedmem.checkpoint.first_rounds import FILE as FIRST_ROUNDS
from fedmem.checkpoint.first_rounds import note_first_rounds, read_first_rounds
from fedmem.checkpoint.records import (
    StoredServer,
    memories_of,
    memory_arrays,
    server_arrays,
    server_record,
    server_state,
)
from fedmem.checkpoint.transition_files import read_transitions, write_transitions
from fedmem.federated.state import ServerState
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.handed_on import HandedOn
from fedmem.memory.transitions import TransitionCounts

Memories = Mapping[int, MemoryEntries]
Lengths = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state after a round: the server's, every client's memory, and how much each user has handed on [U]."""

    server: ServerState
    memories: Mapping[int, MemoryEntries]
    handed_on: Lengths | None = None


class Checkpoints:
    """Reads, writes and removes the checkpoints in a run's folder ``rounds``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(
        self,
        server: ServerState,
        memories: Iterable[Memories],
        base: int | None = None,
        handed_on: Lengths | None = None,
    ) -> str:
        """Write the state after a round; the name of its folder. One that a killed process has left there is replaced.

        Args:
            server: the server's part.
            memories: the clients' memories, some at a time; with a base, those that this round has changed.
            base: the round before, if its checkpoint holds all that this round has not changed.
            handed_on: how many interactions each user [U] has handed on, if there is a transition memory.
        """
        folder = self.folder_of(server.round)
        with writing(self._folder):
            self._write(folder, server, memories, base, handed_on)
        return folder.name

    def _write(
        self,
        folder: Path,
        server: ServerState,
        memories: Iterable[Memories],
        base: int | None,
        handed_on: Lengths | None,
    ) -> None:
        unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process of this number that came to grief
        unfinished.mkdir(parents=True)
        write_arrays(unfinished / "server.safetensors", server_arrays(server))
        transitions = server.transitions if base is None else server.new_transitions
        if transitions is not None and handed_on is not None:
            write_transitions(unfinished, HandedOn(transitions, handed_on))
        files = 0
        for some in memories:
            write_arrays(unfinished / _memories_file(files), memory_arrays(some))
            files += 1
        write_json(unfinished / "server.json", server_record(server) | {"memory_files": files, "memory_base": base})
        _put_away(folder)
        unfinished.rename(folder)
        sync(folder.parent)

    def read(self, round_number: int) -> Checkpoint:
        """Read the state after a round that ``run.json`` names, including all memories."""
        memories: dict[int, MemoryEntries] = {}
        for some in self.read_memories(round_number):
            memories |= some
        return Checkpoint(self.read_server(round_number), memories, self.read_handed_on(round_number))

    def read_server(self, round_number: int) -> ServerState:
        """Read the server's part of a checkpoint."""
        folder = self.folder_of(round_number)
        with reading(folder):
            arrays, record = read_arrays(folder / "server.safetensors"), read_json(folder / "server.json")
            return server_state(arrays, record, self._transitions(round_number))

    def _transitions(self, round_number: int) -> TransitionCounts | None:
        """Add up what a round's checkpoint and those that it builds on hold of the transition memory.

        None if one of them has none, because it never had or was found damaged: a part is not the memory.
        """
        total: TransitionCounts | None = None
        for number in self._with_bases(round_number):
            stored = read_transitions(self.folder_of(number))
            if stored is None:
                return None
            total = stored.counts if total is None else total + stored.counts
        return total

    def read_handed_on(self, round_number: int) -> Lengths | None:
        """Read how many interactions each user [U] had handed on after a round; None without a transition memory."""
        with reading(self.folder_of(round_number)):
            stored = read_transitions(self.folder_of(round_number))
            return None if stored is None else stored.lengths

    def note_first_rounds(self, round_number: int, handed_on: Lengths | None) -> None:
        """Note which users [U] had handed on by the end of a round; called after every round, in order."""
        if handed_on is not None:
            with writing(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
                note_first_rounds(self._folder, round_number, handed_on)

    def read_first_rounds(self) -> Lengths | None:
        """Read after which round each user [U] had first handed anything on, 0 for not yet; None if unknown."""
        return read_first_rounds(self._folder)

    def read_memories(self, round_number: int) -> Iterator[Memories]:
        """Read the memories of a checkpoint, some at a time; if a user comes twice, the later ones count."""
        for number in reversed(list(self._with_bases(round_number))):
            folder = self.folder_of(number)
            with reading(folder):
                files = StoredServer.of(read_json(folder / "server.json")).memory_files
            for file in range(files):
                with reading(folder / _memories_file(file)):
                    some = memories_of(read_arrays(folder / _memories_file(file)))
                yield some

    def copy_from(self, other: "Checkpoints", rounds: Iterable[int]) -> None:
        """Copy another run's checkpoints of these rounds, and those they build on."""
        for number in other.needed(rounds):
            shutil.copytree(other.folder_of(number), self.folder_of(number), dirs_exist_ok=True)
        if (other._folder / FIRST_ROUNDS).exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(other._folder / FIRST_ROUNDS, self._folder / FIRST_ROUNDS)

    def folder_of(self, round_number: int) -> Path:
        """Name the folder of a round's checkpoint."""
        return self._folder / f"{round_number:06d}"

    def rounds(self) -> list[int]:
        """List the rounds that have a checkpoint, in order."""
        return sorted(int(folder.name) for folder in self._folder.glob("[0-9]*"))

    def needed(self, rounds: Iterable[int]) -> set[int]:
        """Return those of these rounds that have a checkpoint, and the rounds they build on."""
        there = [number for number in rounds if self.folder_of(number).exists()]
        return {base for number in there for base in self._with_bases(number)}

    def keep(self, rounds: Iterable[int]) -> None:
        """Remove every checkpoint but those of these rounds and those they build on."""
        self.remove(set(self.rounds()) - self.needed(rounds))

    def remove(self, rounds: Iterable[int]) -> None:
        """Remove the checkpoints of these rounds. If killed meanwhile, leave none half removed."""
        with writing(self._folder):
            for number in rounds:
                _put_away(self.folder_of(number))

    def _with_bases(self, round_number: int) -> Iterator[int]:
        """Yield a round and those whose memories its checkpoint changes, back to one that holds all."""
        base: int | None = round_number
        while base is not None:
            yield base
            base = self.base_of(base)

    def base_of(self, number: int) -> int | None:
        """Read on which round a checkpoint builds; an earlier one, so that none goes round in a circle."""
        path = self.folder_of(number) / "server.json"
        with reading(path):
            base = read_json(path).get("memory_base")
            if base is not None and (type(base) is not int or not 0 <= base < number):
                raise ValueError(f"the memories of round {number} cannot build on those of round {base!r}")
            return base


def _put_away(folder: Path) -> None:
    """Remove a folder: first its name, in one step, then what is in it."""
    gone = folder.with_name(f".gone-{folder.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _memories_file(number: int) -> str:
    return f"memories-{number:04d}.safetensors"
