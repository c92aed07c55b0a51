"""Correspondence: asks nodes and reads their answers, until enough of them have answered.

Who answers too late, or with something that is no answer, is left out by name.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig
from fedmem.errors import NodesAwayError
from fedmem.interruption import heed
from fedmem.nodes.courier import Courier
from fedmem.nodes.letter import Letter
from fedmem.nodes.roster import Roster

logger = logging.getLogger(__name__)

T = TypeVar("T")
UserIndices = npt.NDArray[np.int64]
# What comes of reading something that is no answer.
NO_ANSWER = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
MOST_USERS = 2**40
LOOK = 0.5  # seconds from one look for nodes to the next
SAID_EVERY = 60  # looks
MOST_SAID = 2000  # characters of a node's reason


@dataclass(eq=False)
class Correspondence:
    """What the server asks the nodes of a run.

    Attributes:
        config: the run's configuration.
        setup: what a node is sent at the beginning.
        courier: reaches the nodes.
        roster: who takes part.
        refused: how many answers of each node were refused.
    """

    config: ExperimentConfig
    setup: Letter
    courier: Courier
    roster: Roster
    refused: Counter[str] = field(default_factory=Counter)
    _names: dict[int, str] = field(default_factory=dict)

    def enrol(self) -> None:
        """Wait until as many nodes are there as a round needs, and number the clients of all that came."""
        self.roster.enrol(self._wait_for_nodes())
        names = ", ".join(f"{name} ({each.users})" for name, each in self.roster.members.items())
        logger.info("the nodes of this run, with their users: %s", names)

    def letter(self, kind: str, name: str, content: Letter, **facts: Any) -> Letter:
        """Write to a node: what is asked, what of its answers does not count, and what all are told."""
        member = self.roster.members[name]
        told = {"first": member.first, "missed": member.missed, **facts, **content.facts}
        return self._addressed(Letter(told, content.arrays), kind)

    def _addressed(self, letter: Letter, kind: str) -> Letter:
        # Later letters have greater numbers, also after this process was started again.
        return replace(letter, facts={**letter.facts, "kind": kind, "run": self.roster.run, "order": time.time_ns()})

    def gathered(self, letters: Mapping[str, Letter], read: Callable[[str, Letter], T]) -> dict[str, tuple[T, Letter]]:
        """Send letters by node until enough of them are answered; the answers in the nodes' order.

        Raises:
            NodesAwayError: if they are not within ``flower.wait`` seconds.
        """
        found: dict[str, tuple[T, Letter]] = {}
        least = min(self.config.flower.minimum_nodes, len(letters))
        for look in looks(self.config.flower.wait):
            asked = {name: letter for name, letter in letters.items() if name not in found}
            found |= self.asked(asked, read)
            if len(found) >= least:
                return self._in_order(letters, found)
            if look % SAID_EVERY == 0:
                logger.warning("%d of %d nodes have answered, and %d have to", len(found), len(letters), least)
        raise self.away(len(found), least)

    def _in_order(
        self, letters: Mapping[str, Letter], found: Mapping[str, tuple[T, Letter]]
    ) -> dict[str, tuple[T, Letter]]:
        for name in letters.keys() - found.keys():
            logger.warning("node %s is left out of this round", name)
        return {name: found[name] for name in letters if name in found}

    def away(self, there: int, least: int) -> NodesAwayError:
        """Say that too few nodes were there."""
        return NodesAwayError(
            f"{there} nodes were there after flower.wait = {self.config.flower.wait:g} seconds, and {least} have to be "
            "(flower.minimum_nodes): resume it once they are"
        )

    def asked(self, letters: Mapping[str, Letter], read: Callable[[str, Letter], T]) -> dict[str, tuple[T, Letter]]:
        """Send those of the nodes that are there their letters, once; the answers that can be used."""
        present = self._present()
        # Anew, so that an older copy of the same that is still under way is refused.
        sent = {present[name]: self._addressed(x, x.facts["kind"]) for name, x in letters.items() if name in present}
        found = {}
        for number, answer in self._exchange(sent):
            name = self._names[number]
            try:
                found[name] = read(name, self._checked(name, answer, sent[number])), answer
            except NO_ANSWER as error:
                self.refuse(name, str(error) or type(error).__name__)
        return found

    def _checked(self, name: str, answer: Letter, asked: Letter) -> Letter:
        """Refuse what does not answer what was asked."""
        if "error" in answer.facts:
            raise ValueError(f"it could not: {answer.facts['error']}")
        expected = {"node": name, **{key: asked.facts.get(key) for key in ("kind", "order", "round")}}
        for key, value in expected.items():
            if answer.facts.get(key) != value:
                raise ValueError(f"it answers for {key} {answer.facts.get(key)!r}, and was asked for {value!r}")
        return answer

    def refuse(self, name: str, reason: str) -> None:
        """Count an answer that cannot be used, and say why."""
        self.refused[name] += 1
        logger.warning("an answer of node %s is refused: %s", name, _in_short(reason))

    def _exchange(self, letters: Mapping[int, Letter]) -> Iterator[tuple[int, Letter]]:
        """Send letters, and yield the answers that come."""
        if not letters:
            return
        for number, answer in self.courier.exchange(letters, self.config.flower.patience):
            heed()
            if isinstance(answer, Letter):
                yield number, answer
            else:
                logger.warning("no answer of node %s: %s", self._names.get(number, number), _in_short(str(answer)))
                self._names.pop(number, None)  # it may come back as another

    def _present(self) -> dict[str, int]:
        """Tell the number of every node of this run that is there, and greet those that have come."""
        there = self.courier.nodes()
        strangers = [number for number in there if number not in self._names]
        self._greet(strangers)
        return {self._names[number]: number for number in there if self._names.get(number) in self.roster.members}

    def _greet(self, numbers: Iterable[int]) -> dict[str, tuple[int, UserIndices]]:
        """Ask nodes who they are, and send the run's setup to those that lack it."""
        presented: dict[str, tuple[int, UserIndices]] = {}
        hello = self._addressed(Letter({}), "hello")
        new = []
        for number, answer in self._exchange(dict.fromkeys(numbers, hello)):
            self._names[number] = str(answer.facts.get("node"))
            if answer.facts.get("ready"):
                self._present_as(presented, number, answer)
            else:
                new.append(number)
        setup = self._addressed(self.setup, "setup")
        for number, answer in self._exchange(dict.fromkeys(new, setup)):
            self._present_as(presented, number, answer)
        return presented

    def _present_as(self, presented: dict[str, tuple[int, UserIndices]], number: int, answer: Letter) -> None:
        name = self._names[number]
        try:
            if "error" in answer.facts:
                raise ValueError(f"it cannot take part: {answer.facts['error']}")
            users, trainable = int(answer.facts["users"]), answer.arrays["trainable"].astype(np.int64)
            if not 0 < users <= MOST_USERS or trainable.ndim != 1:
                raise ValueError(f"it has {users} users, and names {trainable.shape} of them")
            if (np.diff(trainable) <= 0).any() or not ((trainable >= 0) & (trainable < users)).all():
                raise ValueError("its users are not numbered from 0 on")
            member = self.roster.members.get(name)
            if member and (member.users != users or not np.array_equal(member.trainable, trainable + member.first)):
                raise ValueError(f"it has {users} users, and had {member.users} when the run began")
            if name in presented:
                raise ValueError("two nodes have this name")
            presented[name] = users, trainable
        except NO_ANSWER as error:
            self._names[number] = ""
            self.refuse(name, str(error))

    def _wait_for_nodes(self) -> dict[str, tuple[int, UserIndices]]:
        """Wait until enough nodes are there; those that came until then."""
        presented: dict[str, tuple[int, UserIndices]] = {}
        least = self.config.flower.minimum_nodes
        for look in looks(self.config.flower.wait):
            presented |= self._greet(number for number in self.courier.nodes() if number not in self._names)
            if len(presented) >= least:
                return presented
            if look % SAID_EVERY == 0:
                logger.info("waiting for nodes: %d of flower.minimum_nodes = %d are there", len(presented), least)
        raise self.away(len(presented), least)


def _in_short(said: str) -> str:
    """Return what a node says as a part of one line."""
    return " ".join(said.split())[:MOST_SAID]


def looks(seconds: float) -> Iterator[int]:
    """Count looks, with a stop heeded and some time between them, for so long."""
    look, end = 0, time.monotonic() + seconds
    while True:
        yield look
        look += 1
        deadline = time.monotonic() + LOOK
        while time.monotonic() < deadline:
            heed()
            time.sleep(0.05)
        if time.monotonic() > end:
            return
