"""MaskedRounds: secure sums over nodes, as the server leads them. It adds words up and reads no node's.

A node that is gone after the shares are given out is left out, and its masks are taken off by those who hold shares of
them; where too few are left the sum is begun anew, with other secrets. From when shares are asked for on, a sum is of
the same nodes whenever it is made again, also in a run that is resumed.
"""

import json
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig
from fedmem.errors import ConfigError, NodesAwayError, TrainingError
from fedmem.federated.messages import Broadcast, MetricSums, UpdateSum
from fedmem.federated.round import Split
from fedmem.federated.secure_aggregation import check_cohort, handing_on
from fedmem.nodes.correspondence import Correspondence, looks
from fedmem.nodes.letter import Letter
from fedmem.nodes.masked import (
    Facts,
    Lanes,
    Words,
    check_lanes,
    metric_form,
    metric_sizes,
    read_metrics,
    read_update,
    update_sizes,
)
from fedmem.nodes.masked_session import MaskedSession
from fedmem.nodes.wanted_sums import Found, SumLost, Trained, Wanted
from fedmem.secure_sums.keys import agreement
from fedmem.secure_sums.server import unmask
from fedmem.secure_sums.session import KEY_BYTES

logger = logging.getLogger(__name__)

T = TypeVar("T")
UserIndices = npt.NDArray[np.int64]
REVEALED_IN = 3  # askings; a node answers the same question alike


@dataclass(frozen=True, eq=False)
class MaskedRounds:
    """Secure sums of one run over nodes.

    Attributes:
        config: the run's configuration.
        nodes: asks them.
    """

    config: ExperimentConfig
    nodes: Correspondence

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

        update, found = self._read(wanted, read)
        if self.config.uses_transitions:
            counted = {name: handing[name] for name in found.counted} if handing else {}
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
        form = metric_form(self.config.evaluation, broadcast.strengths)
        letters = {name: self.nodes.letter("evaluate", name, whole, split=split) for name in users}
        wanted = Wanted(split, broadcast.round, users, letters, lambda _: metric_sizes(form))

        def read(found: Found) -> MetricSums:
            counted = sum(users[name] for name in found.counted)
            return read_metrics(found.session.cohort, found.lanes, form, counted)

        return self._read(wanted, read)[0]

    def _read(self, wanted: Wanted, read: Callable[[Found], T]) -> tuple[T, Found]:
        """Make a sum until it can be read."""
        self._check(wanted)
        wanted = self._bound(wanted)
        why, names = "", wanted.names
        for _ in looks(self.config.flower.wait):
            try:
                found = self._summed(wanted, names)
                return read(found), found
            except NodesAwayError:
                raise
            except (SumLost, TrainingError, ArithmeticError, LookupError) as lost:
                wanted = self._bound(wanted)
                why, names = str(lost), self._left(wanted, names, getattr(lost, "names", ()))
                logger.warning("the secure sum of %s is made anew: %s", wanted.purpose, why)
        raise NodesAwayError(
            f"no secure sum of {wanted.purpose} could be read within flower.wait = {self.config.flower.wait:g} seconds "
            f"({why}): resume it once the nodes are there"
        )

    def _bound(self, wanted: Wanted) -> Wanted:
        """Bind a sum to the nodes of which it was begun to be read."""
        return replace(wanted, only=frozenset(self.nodes.roster.counted.get(wanted.label, ())))

    def _left(self, wanted: Wanted, names: Collection[str], lost: Collection[str]) -> list[str]:
        """Leave out who did not share, as long as enough are left; else all are asked again."""
        left = [name for name in names if name not in lost]
        return wanted.names if wanted.lacks(self.config, left) else left

    def _check(self, wanted: Wanted) -> None:
        """Refuse a sum that could hide no node even if all answered."""
        check_cohort(self.config, sum(wanted.users.values()), wanted.purpose)
        if why := wanted.lacks(self.config, wanted.users):
            raise ConfigError(
                f"the secure sum of {wanted.purpose}: {why}. Raise federated.client_fraction = "
                f"{self.config.federated.client_fraction:g}, or let more nodes take part"
            )

    def _summed(self, wanted: Wanted, names: Collection[str]) -> Found:
        session = self._session(wanted, names)
        answers = self._masked(wanted, session)
        counted, form = list(answers), next(iter(answers.values()))[1]
        lanes = {name: _added([found[name] for found, _, _ in answers.values()]) for name in wanted.sizes(form)}
        num_bytes = sum(letter.num_bytes for _, _, letter in answers.values()) + session.num_bytes
        self.nodes.roster.count(wanted.label, counted)
        self._unmask(session, lanes, counted, wanted.round)
        return Found(session, counted, lanes, form, num_bytes)

    def _session(self, wanted: Wanted, names: Collection[str]) -> MaskedSession:
        """Pass on keys and sealed shares, among those of some nodes that are there."""
        label, numbers = f"{wanted.purpose} {uuid.uuid4().hex}", {name: n for n, name in enumerate(names)}
        asked = {name: self._letter("keys", name, wanted.round, session=label, party=numbers[name]) for name in numbers}
        keys = self.nodes.gathered(asked, lambda _, letter: _keys_of(letter))
        if why := wanted.lacks(self.config, keys):
            raise SumLost(why)
        cohort = sum(wanted.users[name] for name in keys)
        session = MaskedSession.drawn(self.config, label, wanted.round, {numbers[n]: x for n, (x, _) in keys.items()})
        session = replace(session, names={numbers[name]: name for name in keys}, cohort=cohort)
        told = {name: self._letter("shares", name, wanted.round, **session.told(numbers[name])) for name in keys}
        sealed = self.nodes.asked(told, lambda name, letter: session.sealed_by(numbers[name], letter))
        if lost := keys.keys() - sealed.keys():
            raise SumLost(f"{', '.join(sorted(lost))} gave no shares of its masks", lost)
        num_bytes = sum(letter.num_bytes for _, letter in (*keys.values(), *sealed.values()))
        return replace(session, sealed={numbers[name]: x for name, (x, _) in sealed.items()}, num_bytes=num_bytes)

    def _masked(self, wanted: Wanted, session: MaskedSession) -> dict[str, tuple[Lanes, Facts, Letter]]:
        """Have nodes train or evaluate, and mask; the answers that can be added, in the nodes' order."""
        letters = {
            name: replace(wanted.letters[name], facts={**wanted.letters[name].facts, **session.for_masking(number)})
            for number, name in session.names.items()
        }

        def read(name: str, letter: Letter) -> tuple[Lanes, Facts]:
            form = letter.facts.get("form", {})
            return check_lanes(letter.arrays, wanted.sizes(form)), form

        found = self.nodes.asked(letters, read)
        answers = {name: (*found[name][0], found[name][1]) for name in letters if name in found}
        written = {name: json.dumps(form, sort_keys=True) for name, (_, form, _) in answers.items()}
        for name in _unlike(written):
            self.nodes.refuse(name, "its sum has other parts or metrics than those of other nodes")
            del answers[name]
        if why := wanted.lacks(self.config, answers):
            raise SumLost(why)
        return answers

    def _unmask(self, session: MaskedSession, lanes: Lanes, counted: Sequence[str], number: int) -> None:
        """Have the nodes whose words are counted reveal what takes the masks off, and take them off in place."""
        survivors = frozenset(one for one, name in session.names.items() if name in counted)
        revealed: dict[int, Mapping[int, int]] = {}
        for _ in range(REVEALED_IN):
            left = [one for one in survivors if one not in revealed]
            questions = {session.names[one]: session.question(one, survivors) for one in left}
            asked = {name: self._letter("reveal", name, number, **facts) for name, facts in questions.items()}
            answers = self.nodes.asked(asked, lambda name, letter: session.revealed_by(name, letter))
            revealed |= {one: answers[name][0] for one, name in session.names.items() if name in answers}
            if len(revealed) == len(survivors):
                break
        unmask(session.session, list(lanes.values()), survivors, revealed)

    def _letter(self, kind: str, name: str, round_number: int, **facts: Any) -> Letter:
        return self.nodes.letter(kind, name, Letter({"round": round_number}), **facts)


def _keys_of(letter: Letter) -> tuple[bytes, bytes]:
    """Read a node's public keys; ``ValueError`` if others could agree on nothing with one, and all would be lost."""
    mask, sealing = (bytes.fromhex(key) for key in letter.facts["keys"])
    for key in (mask, sealing):
        agreement(bytes(range(KEY_BYTES)), b"a key is one")(key)
    return mask, sealing


def _unlike(written: Mapping[str, str]) -> list[str]:
    """Name those of another form than most have."""
    if not written:
        return []
    kept = Counter(written.values()).most_common(1)[0][0]
    return [name for name, form in written.items() if form != kept]


def _added(words: Sequence[Words]) -> Words:
    """Add words up, in place of the first."""
    total, *others = words
    for each in others:
        np.add(total, each, out=total)
    return total
