"""NodePopulation: the server's handle on clients that live on other owners' machines.

A node is told which of its clients are drawn, trains them all in one message and sends one sum, masked where sums are
secure. It is asked again until enough nodes have answered.
"""

import functools
import logging
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig
from fedmem.errors import CheckpointError
from fedmem.federated.messages import Arrays, Broadcast, MaskedSum, MetricSums, Session, UpdateSum
from fedmem.federated.postprocessing import Postprocessors
from fedmem.federated.round import Split
from fedmem.federated.sums import Total
from fedmem.nodes.correspondence import Correspondence
from fedmem.nodes.courier import Courier
from fedmem.nodes.letter import Letter
from fedmem.nodes.masked_rounds import MaskedRounds
from fedmem.nodes.roster import Roster
from fedmem.nodes.wire import broadcast_letter, check_form, check_metrics, form_of, metrics_of, update_of

logger = logging.getLogger(__name__)

UserIndices = npt.NDArray[np.int64]
LOSS = "recommendation_loss"


@dataclass(eq=False)
class NodePopulation:
    """The clients of all nodes of a run.

    Attributes:
        config: the run's configuration.
        nodes: asks them.
    """

    config: ExperimentConfig
    nodes: Correspondence
    _told: int = field(default=0)

    @classmethod
    def assembled(cls, config: ExperimentConfig, setup: Letter, courier: Courier, path: Path) -> "NodePopulation":
        """Wait until as many nodes are there as a round needs and, at a run's start, number their clients."""
        population = cls(config, Correspondence(config, setup, courier, Roster(path)))
        if not population.roster.members:
            if (path.parent / "run.json").exists():  # nodes that came now would be other ones than it was trained with
                raise CheckpointError(
                    f"{path}: it is missing, or names no node. Put the run's own back, or train anew."
                )
            population.nodes.enrol()
        return population

    @property
    def roster(self) -> Roster:
        """Who takes part."""
        return self.nodes.roster

    def close(self) -> None:
        """Send nothing more."""
        self.nodes.courier.close()

    def train(
        self,
        clients: UserIndices,
        broadcast: Broadcast,
        postprocessors: Postprocessors = (),
        session: Session | None = None,
    ) -> Generator[UpdateSum | MaskedSum, None, None]:
        """Have each node train those of its clients that are drawn; one sum a node, or one of all where it is secure.

        A session is of clients that mask; nodes do so among themselves.
        """
        assert session is None, "nodes mask, and not their clients"
        assert not postprocessors, "the run refuses them"
        self.roster.back_to(broadcast.round)  # no sooner: a run that was tested at an earlier round may go on
        if self.config.secure_sums.enabled:
            yield self._trained_in_secret(clients, broadcast)
            return
        drawn = {name: own for name, own in self.roster.by_node(clients).items() if len(own)}
        letters = {name: self._letter("train", name, broadcast, {"clients": own}) for name, own in drawn.items()}

        def read(name: str, letter: Letter) -> UpdateSum:
            update = update_of(letter, broadcast)
            if update.clients != len(drawn[name]):
                raise ValueError(f"{update.clients} clients answered, and {len(drawn[name])} were drawn")
            check_form(update.transitions, self.config.transitions)
            return update

        found = self._alike(self.nodes.gathered(letters, read))
        self._miss(letters.keys() - found.keys(), broadcast)
        yield from self._reported(found, letters)

    def _trained_in_secret(self, clients: UserIndices, broadcast: Broadcast) -> UpdateSum:
        """Have nodes train, and mask what they send with one another; the sum of those that answered to the end."""
        rounds = MaskedRounds(self.config, self.nodes)
        trained = rounds.trained(clients, broadcast, _broadcast_letter(broadcast))
        self._miss(trained.missing, broadcast)
        told = self._counts(len(trained.counted), len(trained.missing), trained.num_bytes)
        told["bytes_down_keys"] = float(trained.key_bytes)
        return _telling(trained.update, told)

    def _miss(self, names: Iterable[str], broadcast: Broadcast) -> None:
        for name in names:
            self.roster.miss(name, broadcast.round + 1)

    def _alike(self, found: dict[str, tuple[UpdateSum, Letter]]) -> dict[str, tuple[UpdateSum, Letter]]:
        """Keep the updates of the form that most have, the loss among it; refuse others, which cannot be added."""
        forms = {name: form_of(update) for name, (update, _) in found.items()}
        trained = {form_of(update): LOSS in update.metrics for update, _ in found.values()}
        counted = Counter(forms.values())
        kept = max(counted, key=lambda form: (trained[form], counted[form]))
        for name in [name for name, form in forms.items() if form != kept]:
            self.nodes.refuse(name, "its update has other parts or metrics than those of other nodes")
            del found[name]
        return found

    def _reported(
        self, found: Mapping[str, tuple[UpdateSum, Letter]], letters: Mapping[str, Letter]
    ) -> Iterator[UpdateSum]:
        """Add to each node's sum what is to be told of the nodes, and of the answers refused since the last round."""
        whole = self._counts(1, len(letters) - len(found), 0)
        for row, (update, letter) in enumerate(found.values()):
            told = {**(dict.fromkeys(whole, 0.0) if row else whole), "nodes": 1.0}
            update = _telling(update, {**told, "bytes_up_nodes": float(letter.num_bytes)})
            yield update.as_one_sender() if self.config.gathers_changes else update

    def _counts(self, nodes: int, missing: int, num_bytes: int) -> dict[str, float]:
        """Count what is told of nodes; the answers refused since the last round once."""
        refused, self._told = self.nodes.refused.total() - self._told, self.nodes.refused.total()
        found = {"nodes": nodes, "nodes_missing": missing, "nodes_refused": refused, "bytes_up_nodes": num_bytes}
        return {name: float(value) for name, value in found.items()}

    def evaluating(self) -> UserIndices:
        """Tell which clients evaluate."""
        return self.roster.clients

    def evaluate(
        self, broadcast: Broadcast, split: Split, session: Session | None = None
    ) -> Generator[MetricSums | MaskedSum, None, None]:
        """Have every node evaluate the model on its own users; one sum of metrics a node, in the nodes' order.

        Where sums are secure it is one of all nodes.
        """
        if self.config.secure_sums.enabled:
            yield MaskedRounds(self.config, self.nodes).evaluated(broadcast, split, _broadcast_letter(broadcast))
            return
        letters = {
            name: self._letter("evaluate", name, broadcast, {}, split=split)
            for name, member in self.roster.members.items()
            if len(member.trainable)
        }

        def read(name: str, letter: Letter) -> MetricSums:
            sums = metrics_of(letter)
            check_metrics(sums, broadcast, len(self.roster.members[name].trainable))
            return sums

        yield from (sums for sums, _ in self.nodes.gathered(letters, read).values())

    def _letter(self, kind: str, name: str, broadcast: Broadcast, arrays: Arrays | Any, **facts: Any) -> Letter:
        whole = _broadcast_letter(broadcast)
        return self.nodes.letter(kind, name, replace(whole, arrays={**whole.arrays, **arrays}), **facts)

    def memories(self, round_number: int) -> Iterator[dict[int, Any]]:
        """Iterate over nothing: memories stay at the nodes."""
        return iter(())

    changed_memories = memories

    def handed_on(self, round_number: int) -> UserIndices | None:
        """Tell how much users of this side have handed on: there is none, and None without a transition memory."""
        return np.zeros(0, np.int64) if self.config.uses_transitions else None

    def restore_memories(self, memories: Iterable[Any], round_number: int, handed_on: Any = None) -> None:
        """Stand after a round: nodes keep what their clients held then."""


def _telling(update: UpdateSum, told: Mapping[str, float]) -> UpdateSum:
    return replace(update, metrics={**update.metrics, **{name: Total(value) for name, value in told.items()}})


@functools.lru_cache(maxsize=1)
def _broadcast_letter(broadcast: Broadcast) -> Letter:
    return broadcast_letter(broadcast)
