"""MaskedRounds: what a round and an evaluation want of secure sums over nodes, and what comes of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig
from fedmem.federated.messages import Broadcast, MetricSums, UpdateSum
from fedmem.federated.round import Split
from fedmem.federated.secure_aggregation import handing_on
from fedmem.nodes.correspondence import Correspondence
from fedmem.nodes.letter import Letter
from fedmem.nodes.masked import PAIRS, metric_form, metric_sizes, read_metrics, read_update, update_sizes
from fedmem.nodes.masked_sums import MaskedSums
from fedmem.nodes.wanted_sums import Found, Trained, Wanted

UserIndices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MaskedRounds:
    """Secure sums of one run over nodes.

    Attributes:
        config: the run's configuration.
        nodes: asks them.
    """

    config: ExperimentConfig
    nodes: Correspondence

    @property
    def _sums(self) -> MaskedSums:
        return MaskedSums(self.config, self.nodes)

    def trained(self, clients: UserIndices, broadcast: Broadcast, whole: Letter) -> Trained:
        """Have nodes train their drawn clients, and hand on transitions of those who have any.

        Raises:
            ConfigError: if too few clients or nodes take part in a round.
            NodesAwayError: if no sum could be read within ``flower.wait`` seconds.
        """
        drawn = {name: own for name, own in self.nodes.roster.by_node(clients).items() if len(own)}
        handing = self._handing_on(clients, drawn, broadcast.round)

        def letter(name: str) -> Letter:
            arrays = {"clients": drawn[name]} | ({"handing_on": handing[name]} if handing else {})
            return self.nodes.letter("train", name, replace(whole, arrays={**whole.arrays, **arrays}))

        wanted = Wanted(
            "updates",
            broadcast.round,
            {name: len(own) for name, own in drawn.items()},
            {name: letter(name) for name in drawn},
            lambda form: update_sizes(self.config, form, broadcast, pairs=bool(handing)),
            {name: len(own) for name, own in handing.items()},
        )

        def read(found: Found) -> UpdateSum:
            clients = sum(wanted.users[name] for name in found.counted)
            arguments = found.lanes, found.form, broadcast, clients, len(found.counted)
            return read_update(self.config, found.session.cohort, *arguments)

        update, found = self._sums.read(wanted, read)
        if self.config.uses_transitions:
            counted = {name: handing[name] for name in found.counted} if PAIRS in found.lanes else {}
            self.nodes.roster.hand_on(counted, broadcast.round + 1)
        missing = [name for name in drawn if name not in found.counted]
        return Trained(update, found.counted, missing, found.num_bytes, found.session.session.bytes_down())

    def _handing_on(
        self, clients: UserIndices, drawn: Mapping[str, UserIndices], round_number: int
    ) -> dict[str, UserIndices]:
        """Choose who hands on transitions, by node: none where too few nodes have any, for a sum would be theirs."""
        if not self.config.uses_transitions:
            return {}
        roster = self.nodes.roster
        chosen = handing_on(
            self.config.secure_sums.minimum_cohort,
            self.config.seed,
            round_number,
            clients,
            roster.having_transitions(drawn, round_number),
        )
        by_node = {name: own for name, own in roster.by_node(chosen).items() if name in drawn}
        enough = sum(len(own) > 0 for own in by_node.values()) >= self.config.flower.minimum_nodes
        return by_node if enough else {}

    def evaluated(self, broadcast: Broadcast, split: Split, whole: Letter) -> MetricSums:
        """Have nodes evaluate the model on their users; see ``trained``."""
        users = {name: len(member.trainable) for name, member in self.nodes.roster.members.items()}
        users = {name: number for name, number in users.items() if number}
        form = metric_form(self.config.evaluation, broadcast)
        letters = {name: self.nodes.letter("evaluate", name, whole, split=split) for name in users}
        wanted = Wanted(split, broadcast.round, users, letters, lambda _: metric_sizes(form))

        def read(found: Found) -> MetricSums:
            counted = sum(users[name] for name in found.counted)
            return read_metrics(found.session.cohort, found.lanes, form, counted)

        return self._sums.read(wanted, read)[0]
