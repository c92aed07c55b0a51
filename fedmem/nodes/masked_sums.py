"""MaskedSums: secure sums over nodes, as the server leads them. It adds words up and reads no node's.

A node that is gone after the shares are given out is left out, and its masks are taken off by those who hold shares of
them; where too few are left the sum is begun anew, with other secrets. From when shares are asked for on, a sum is of
the same nodes whenever it is made again, also in a run that is resumed, or put back from a copy: nodes remember it.
"""

import json
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from fedmem.config import ExperimentConfig
from fedmem.errors import ConfigError, NodesAwayError, TrainingError
from fedmem.federated.secure_aggregation import check_cohort
from fedmem.nodes.correspondence import Correspondence, looks
from fedmem.nodes.letter import Letter
from fedmem.nodes.masked import Facts, Lanes, Words, check_lanes
from fedmem.nodes.masked_session import Announced, MaskedSession
from fedmem.nodes.questions import model_of, tags_of
from fedmem.nodes.wanted_sums import Found, SumLost, Wanted
from fedmem.secure_sums.server import unmask

logger = logging.getLogger(__name__)

T = TypeVar("T")
REMEDY = "let those take part, or train with another seed"
REVEALED_IN = 3  # askings; a node answers the same question alike


@dataclass(frozen=True, eq=False)
class MaskedSums:
    """Reads the secure sums of one run over nodes.

    Attributes:
        config: the run's configuration.
        nodes: asks them.
    """

    config: ExperimentConfig
    nodes: Correspondence

    def read(self, wanted: Wanted, read: Callable[[Found], T]) -> tuple[T, Found]:
        """Make a sum until it can be read.

        Raises:
            ConfigError: if it could hide no node.
            NodesAwayError: if it could not be read within ``flower.wait`` seconds.
        """
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
        return wanted.names if replace(wanted, also={}).lacks(self.config, left) else left

    def _check(self, wanted: Wanted) -> None:
        """Refuse a sum that could hide no node even if all answered."""
        check_cohort(self.config, sum(wanted.users.values()), wanted.purpose)
        if why := wanted.lacks(self.config, wanted.users):
            raise ConfigError(
                f"the secure sum of {wanted.purpose}: {why}. Raise federated.client_fraction = "
                f"{self.config.federated.client_fraction:g}, or let more nodes take part"
            )

    def _summed(self, wanted: Wanted, names: Collection[str]) -> Found:
        session = self._session(replace(wanted, also={}), names)
        wanted = wanted.among(self.config, list(session.names.values()))
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
        keys = self._announced(wanted, label, numbers)
        cohort = sum(wanted.users[name] for name in keys)
        public = {numbers[name]: found.keys for name, (found, _) in keys.items()}
        session = MaskedSession.drawn(self.config, label, wanted.round, public)
        least = {name: found.least for name, (found, _) in keys.items()}
        session = replace(session, names={numbers[name]: name for name in keys}, cohort=cohort, least=least)
        told = {name: self._letter("shares", name, wanted.round, **session.told(numbers[name])) for name in keys}
        sealed = self.nodes.asked(told, lambda name, letter: session.sealed_by(numbers[name], letter))
        if lost := keys.keys() - sealed.keys():
            raise SumLost(f"{', '.join(sorted(lost))} gave no shares of its masks", lost)
        num_bytes = sum(letter.num_bytes for _, letter in (*keys.values(), *sealed.values()))
        return replace(session, sealed={numbers[name]: x for name, (x, _) in sealed.items()}, num_bytes=num_bytes)

    def _announced(self, wanted: Wanted, label: str, numbers: Mapping[str, int]) -> dict[str, tuple[Announced, Letter]]:
        """Have nodes announce keys for a session, once they agree of which nodes the sum was if it was read before."""
        model = model_of(next(iter(wanted.letters.values())))
        asked = {
            name: self._letter(
                "keys", name, wanted.round, session=label, party=number, questions=wanted.asked(name, model)
            )
            for name, number in numbers.items()
        }
        found = self.nodes.gathered(asked, lambda _, letter: Announced.of(letter))
        self._heed(wanted, {name: one.before for name, (one, _) in found.items() if one.before})
        if why := wanted.lacks(self.config, found):
            raise SumLost(why)
        return found

    def _heed(self, wanted: Wanted, told: Mapping[str, frozenset[str]]) -> None:
        """Take up of which nodes a sum is from nodes that remember it: this run may have been put back since."""
        by_tag = {tags_of([name])[0]: name for name in wanted.letters}
        for name, before in told.items():
            nodes = {by_tag[tag] for tag in before if tag in by_tag}
            if len(nodes) < len(before) or (wanted.only and nodes != wanted.only):
                why = f"{name} remembers the same sum as one of {len(before)} nodes, other than these: {REMEDY}"
                raise SumLost(why, [name])
            if not wanted.only:
                self.nodes.roster.count(wanted.label, nodes)
                raise SumLost(f"{name} remembers it as one of {', '.join(sorted(nodes))}")

    def _masked(self, wanted: Wanted, session: MaskedSession) -> dict[str, tuple[Lanes, Facts, Letter]]:
        """Have nodes train or evaluate, and mask; the answers that can be added, in the nodes' order."""
        letters = {
            name: replace(wanted.letters[name], facts={**wanted.letters[name].facts, **session.for_masking(number)})
            for number, name in session.names.items()
        }

        blamed: dict[str, set[str]] = {}

        def read(name: str, letter: Letter) -> tuple[Lanes, Facts]:
            if owners := [session.names[owner] for owner in letter.facts.get("unopened", ())]:
                for owner in owners:
                    blamed.setdefault(owner, set()).add(name)
                raise ValueError(f"it could not open what {', '.join(owners)} sealed for it")
            form = letter.facts.get("form", {})
            return check_lanes(letter.arrays, wanted.sizes(form)), form

        found = self.nodes.asked(letters, read)
        self._blame(blamed)
        answers = {name: (*found[name][0], found[name][1]) for name in letters if name in found}
        written = {name: json.dumps(form, sort_keys=True) for name, (_, form, _) in answers.items()}
        for name in _unlike(written):
            self.nodes.refuse(name, "its sum has other parts or metrics than those of other nodes")
            del answers[name]
        if why := wanted.lacks(self.config, answers):
            raise SumLost(why, session.names.values() - answers.keys())
        if names := session.unwilling(answers):
            raise SumLost(f"of {len(answers)} nodes it is of too few for the owners of {', '.join(names)}")
        return answers

    def _blame(self, blamed: Mapping[str, Collection[str]]) -> None:
        """Refuse, by name, shares that others could not open; begin anew without a node of which two others say so."""
        for name, by in blamed.items():
            self.nodes.refuse(name, f"what it sealed for {', '.join(sorted(by))} cannot be opened")
        if names := [name for name, by in blamed.items() if len(by) > 1]:
            raise SumLost(f"what {', '.join(names)} sealed cannot be opened", names)

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
