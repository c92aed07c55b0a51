"""NodePopulation: the server's handle on clients that live on other owners' machines.

A node is told which of its clients are drawn, trains them all in one message and sends one sum. It is asked again until
enough nodes have answered; who answers too late, or with something that is no answer, is left out by name.
"""

import functools
import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig
from fedmem.errors import ConfigError, NodesAwayError
from fedmem.federated.messages import Arrays, Broadcast, MaskedSum, MetricSums, Session, UpdateSum
from fedmem.federated.postprocessing import Postprocessors
from fedmem.federated.round import Split
from fedmem.federated.sums import Total
from fedmem.interruption import heed
from fedmem.nodes.courier import Courier
from fedmem.nodes.letter import Letter
from fedmem.nodes.roster import Roster
from fedmem.nodes.wire import broadcast_letter, form_of, metrics_of, update_of

logger = logging.getLogger(__name__)

T = TypeVar("T")
UserIndices = npt.NDArray[np.int64]
# What comes of reading something that is no answer.
NO_ANSWER = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
MOST_USERS = 2**40
LOSS = "recommendation_loss"
LOOK = 0.5  # seconds from one look for nodes to the next
SAID_EVERY = 60  # looks


@dataclass(eq=False)
class NodePopulation:
    """The clients of all nodes of a run.

    Attributes:
        config: the run's configuration.
        setup: what a node is sent at the beginning.
        courier: reaches the nodes.
        roster: who takes part.
        refused: how many answers of each node were refused, by node and reason.
    """

    config: ExperimentConfig
    setup: Letter
    courier: Courier
    roster: Roster
    refused: Counter[str] = field(default_factory=Counter)
    _names: dict[int, str] = field(default_factory=dict)
    _told: int = 0

    @classmethod
    def assembled(cls, config: ExperimentConfig, setup: Letter, courier: Courier, path: Path) -> "NodePopulation":
        """Wait until as many nodes are there as a round needs and, at a run's start, number their clients."""
        population = cls(config, setup, courier, Roster(path))
        if not population.roster.members:
            population.roster.enrol(population._wait_for_nodes())
            names = ", ".join(f"{name} ({each.users})" for name, each in population.roster.members.items())
            logger.info("the nodes of this run, with their users: %s", names)
        return population

    def close(self) -> None:
        """Send nothing more."""
        self.courier.close()

    def train(
        self,
        clients: UserIndices,
        broadcast: Broadcast,
        postprocessors: Postprocessors = (),
        session: Session | None = None,
    ) -> Generator[UpdateSum | MaskedSum, None, None]:
        """Have each node train those of its clients that are drawn; one sum a node, in the nodes' order."""
        assert session is None, "the configuration refuses secure sums"
        assert not postprocessors, "the run refuses them"
        letters, expected = {}, {}
        for name, member in self.roster.members.items():
            if len(own := member.of(clients)):
                letters[name] = self._letter("train", name, broadcast, {"clients": own})
                expected[name] = len(own)

        def read(name: str, letter: Letter) -> UpdateSum:
            update = update_of(letter, broadcast)
            if update.clients != expected[name]:
                raise ValueError(f"{update.clients} clients answered, and {expected[name]} were drawn")
            return update

        found = self._alike(self._gathered(letters, read))
        for name in letters.keys() - found.keys():
            self.roster.miss(name, broadcast.round + 1)
        yield from self._reported(found, letters)

    def _alike(self, found: dict[str, tuple[UpdateSum, Letter]]) -> dict[str, tuple[UpdateSum, Letter]]:
        """Keep the updates of the form that most have, the loss among it; refuse others, which cannot be added."""
        forms = {name: form_of(update) for name, (update, _) in found.items()}
        trained = {form_of(update): LOSS in update.metrics for update, _ in found.values()}
        counted = Counter(forms.values())
        kept = max(counted, key=lambda form: (trained[form], counted[form]))
        for name in [name for name, form in forms.items() if form != kept]:
            self._refuse(name, "its update has other parts or metrics than those of other nodes")
            del found[name]
        return found

    def _reported(
        self, found: Mapping[str, tuple[UpdateSum, Letter]], letters: Mapping[str, Letter]
    ) -> Iterator[UpdateSum]:
        """Add to each node's sum what is to be told of the nodes, and of the answers refused since the last round."""
        refused, self._told = self.refused.total() - self._told, self.refused.total()
        for row, (update, letter) in enumerate(found.values()):
            told = {
                "nodes": 1.0,
                "nodes_missing": 0.0 if row else float(len(letters) - len(found)),
                "nodes_refused": 0.0 if row else float(refused),
                "bytes_up_nodes": float(letter.num_bytes),
            }
            update = replace(update, metrics={**update.metrics, **{name: Total(value) for name, value in told.items()}})
            yield update.as_one_sender() if self.config.gathers_changes else update

    def announce_keys(self, purpose: str, number: int, clients: UserIndices) -> NoReturn:
        """Refuse: nodes do not mask yet, and the configuration does not come this far."""
        raise ConfigError("engine = flower does not do secure_sums.enabled yet: set engine=simulation")

    def share_secrets(self, session: Session) -> NoReturn:
        """See ``announce_keys``."""
        self.announce_keys(session.purpose, session.number, self.roster.clients)

    def reveal_shares(self, session: Session, survivors: frozenset[int]) -> NoReturn:
        """See ``announce_keys``."""
        self.announce_keys(session.purpose, session.number, self.roster.clients)

    def having_transitions(self, round_number: int) -> UserIndices:
        """Say that no client hands transitions on by itself: that is for secure sums."""
        return np.zeros(0, np.int64)

    def hand_on(self, clients: UserIndices, broadcast: Broadcast, session: Session) -> NoReturn:
        """See ``announce_keys``."""
        self.announce_keys(session.purpose, session.number, clients)

    def evaluating(self) -> UserIndices:
        """Tell which clients evaluate."""
        return self.roster.clients

    def evaluate(
        self, broadcast: Broadcast, split: Split, session: Session | None = None
    ) -> Generator[MetricSums | MaskedSum, None, None]:
        """Have every node evaluate the model on its own users; one sum of metrics a node, in the nodes' order."""
        letters = {
            name: self._letter("evaluate", name, broadcast, {}, split=split)
            for name, member in self.roster.members.items()
            if len(member.trainable)
        }
        strengths = set(broadcast.strengths) - {0.0}

        def read(name: str, letter: Letter) -> MetricSums:
            sums = metrics_of(letter)
            if sums.count != len(self.roster.members[name].trainable) or set(sums.fused) != strengths:
                raise ValueError(f"it evaluated {sums.count} clients at {sorted(sums.fused)}")
            return sums

        yield from (sums for sums, _ in self._gathered(letters, read).values())

    def _letter(self, kind: str, name: str, broadcast: Broadcast, arrays: Arrays | Any, **facts: Any) -> Letter:
        whole = _broadcast_letter(broadcast)
        member = self.roster.members[name]
        asked = {"first": member.first, "missed": member.missed, **facts, **whole.facts}
        return self._addressed(Letter(asked, {**whole.arrays, **arrays}), kind)

    def _addressed(self, letter: Letter, kind: str) -> Letter:
        # Later letters have greater numbers, also after this process was started again.
        return replace(letter, facts={**letter.facts, "kind": kind, "run": self.roster.run, "order": time.time_ns()})

    def _gathered(self, letters: Mapping[str, Letter], read: Callable[[str, Letter], T]) -> dict[str, tuple[T, Letter]]:
        """Send letters by node until enough of them are answered; the answers in the nodes' order."""
        found: dict[str, tuple[T, Letter]] = {}
        least = min(self.config.flower.minimum_nodes, len(letters))
        for look in _looks(self.config.flower.wait):
            asked = {name: letter for name, letter in letters.items() if name not in found}
            found |= self._asked(asked, read)
            if len(found) >= least:
                return self._in_order(letters, found)
            if look % SAID_EVERY == 0:
                logger.warning("%d of %d nodes have answered, and %d have to", len(found), len(letters), least)
        raise self._away(len(found), least)

    def _in_order(
        self, letters: Mapping[str, Letter], found: Mapping[str, tuple[T, Letter]]
    ) -> dict[str, tuple[T, Letter]]:
        for name in letters.keys() - found.keys():
            logger.warning("node %s is left out of this round", name)
        return {name: found[name] for name in letters if name in found}

    def _away(self, there: int, least: int) -> NodesAwayError:
        return NodesAwayError(
            f"{there} nodes were there after flower.wait = {self.config.flower.wait:g} seconds, and {least} have to be "
            "(flower.minimum_nodes): resume it once they are"
        )

    def _asked(self, letters: Mapping[str, Letter], read: Callable[[str, Letter], T]) -> dict[str, tuple[T, Letter]]:
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
                self._refuse(name, str(error) or type(error).__name__)
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

    def _refuse(self, name: str, reason: str) -> None:
        self.refused[name] += 1
        logger.warning("an answer of node %s is refused: %s", name, reason)

    def _exchange(self, letters: Mapping[int, Letter]) -> Iterator[tuple[int, Letter]]:
        """Send letters, and yield the answers that come."""
        if not letters:
            return
        for number, answer in self.courier.exchange(letters, self.config.flower.patience):
            heed()
            if isinstance(answer, Letter):
                yield number, answer
            else:
                logger.warning("no answer of node %s: %s", self._names.get(number, number), answer)
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
            self._refuse(name, str(error))

    def _wait_for_nodes(self) -> dict[str, tuple[int, UserIndices]]:
        """Wait until enough nodes are there; those that came until then."""
        presented: dict[str, tuple[int, UserIndices]] = {}
        least = self.config.flower.minimum_nodes
        for look in _looks(self.config.flower.wait):
            presented |= self._greet(number for number in self.courier.nodes() if number not in self._names)
            if len(presented) >= least:
                return presented
            if look % SAID_EVERY == 0:
                logger.info("waiting for nodes: %d of flower.minimum_nodes = %d are there", len(presented), least)
        raise self._away(len(presented), least)

    def memories(self, round_number: int) -> Iterator[dict[int, Any]]:
        """Iterate over nothing: memories stay at the nodes."""
        return iter(())

    changed_memories = memories

    def handed_on(self, round_number: int) -> UserIndices | None:
        """Tell how much users of this side have handed on: there is none, and None without a transition memory."""
        return np.zeros(0, np.int64) if self.config.uses_transitions else None

    def restore_memories(self, memories: Iterable[Any], round_number: int, handed_on: Any = None) -> None:
        """Stand after a round: nodes keep what their clients held then."""
        self.roster.back_to(round_number)


@functools.lru_cache(maxsize=1)
def _broadcast_letter(broadcast: Broadcast) -> Letter:
    return broadcast_letter(broadcast)


def _looks(seconds: float) -> Iterator[int]:
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
