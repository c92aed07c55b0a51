"""Which nodes take part in a run, how their clients are numbered, and whose answers were not counted."""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.checkpoint.atomic_files import read_json, reading, write_json

UserIndices = npt.NDArray[np.int64]
FILE = "nodes.json"  # of a run's folder


@dataclass(eq=False)
class Membership:
    """A node of the run.

    Attributes:
        first: the number of its first client among all of them.
        users: how many it has.
        trainable: the numbers of those that train and evaluate, ascending, among all clients.
        missed: after which rounds its memories do not count, because its answer did not arrive in time.
        handed_on: by client's number at the node, after which round it had handed on its transitions, where the server
            has to know whose a secure sum would be.
    """

    first: int
    users: int
    trainable: UserIndices
    missed: list[int] = field(default_factory=list)
    handed_on: dict[int, int] = field(default_factory=dict)

    def of(self, clients: UserIndices) -> UserIndices:
        """Pick this node's of some clients, as it numbers them itself."""
        found: UserIndices = clients[(clients >= self.first) & (clients < self.first + self.users)] - self.first
        return found


class Roster:
    """The nodes by name, in their order, kept in a file of the run.

    Args:
        path: the file.

    Attributes:
        run: names the run to the nodes.
        members: who takes part.
        counted: of which nodes each secure sum is, from before it could be read on, also when rounds are made again.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.run = path, uuid.uuid4().hex
        self.members: dict[str, Membership] = {}
        self.counted: dict[str, list[str]] = {}
        if path.exists():
            with reading(path):
                told = read_json(path)
                self.run = told["run"]
                self.members = {name: _member(each) for name, each in told["nodes"].items()}
                self.counted = told.get("counted", {})

    def enrol(self, presented: dict[str, tuple[int, UserIndices]]) -> None:
        """Number the clients of these nodes, in the order of the nodes' names."""
        first = 0
        for name in sorted(presented):
            users, trainable = presented[name]
            self.members[name] = Membership(first, users, trainable + first)
            first += users
        self.save()

    @property
    def clients(self) -> UserIndices:
        """The clients that train, ascending."""
        none = np.zeros(0, np.int64)
        return np.concatenate([none, *(member.trainable for member in self.members.values())])

    def by_node(self, clients: UserIndices) -> dict[str, UserIndices]:
        """Pick each node's own of some clients, as it numbers them itself."""
        return {name: member.of(clients) for name, member in self.members.items()}

    def having_transitions(self, names: Collection[str], round_number: int) -> UserIndices:
        """Tell which clients of some nodes have handed on no transitions after a number of completed rounds."""
        having = [np.zeros(0, np.int64)]
        for member in (self.members[name] for name in self.members if name in names):
            gone = [user for user, after in member.handed_on.items() if after <= round_number]
            having.append(np.setdiff1d(member.trainable, np.array(gone, np.int64) + member.first))
        return np.concatenate(having)

    def hand_on(self, users: Mapping[str, UserIndices], round_number: int) -> None:
        """Note whose transitions, by node, are counted in a round; what is noted of later ones is forgotten."""
        for name, member in self.members.items():
            kept = {user: after for user, after in member.handed_on.items() if after < round_number}
            member.handed_on = kept | dict.fromkeys(users.get(name, np.zeros(0, np.int64)).tolist(), round_number)
        self.save()

    def count(self, label: str, names: Collection[str]) -> None:
        """Note of which nodes a secure sum is."""
        self.counted[label] = sorted(names)
        self.save()

    def miss(self, name: str, round_number: int) -> None:
        """Note that a node's answer does not count, before the round that went on without it does."""
        self.members[name].missed.append(round_number)
        self.save()

    def back_to(self, round_number: int) -> None:
        """Forget what is noted of later rounds, which will be trained again."""
        for member in self.members.values():
            member.missed[:] = [missed for missed in member.missed if missed <= round_number]
        self.save()

    def save(self) -> None:
        """Write the file."""
        nodes = {name: _told(each) for name, each in self.members.items()}
        write_json(self.path, {"run": self.run, "nodes": nodes, "counted": self.counted})


def _told(member: Membership) -> dict[str, Any]:
    return {**vars(member), "trainable": member.trainable.tolist()}


def _member(told: dict[str, Any]) -> Membership:
    handed_on = {int(user): after for user, after in told.get("handed_on", {}).items()}
    return Membership(**{**told, "trainable": np.array(told["trainable"], np.int64), "handed_on": handed_on})
