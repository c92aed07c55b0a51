"""A secure sum over nodes that is wanted, what it must have to hide each of them, and what is found."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from fedmem.config import ExperimentConfig
from fedmem.federated.messages import UpdateSum
from fedmem.nodes.letter import Letter
from fedmem.nodes.masked import PAIRS, Facts, Lanes
from fedmem.nodes.masked_session import MaskedSession
from fedmem.nodes.questions import questions_of

T = TypeVar("T")


class SumLost(Exception):
    """A sum cannot be read, and is to be begun anew.

    Attributes:
        names: without which nodes, if those that are left suffice.
    """

    def __init__(self, why: str, names: Collection[str] = ()) -> None:
        super().__init__(why)
        self.names = frozenset(names)


@dataclass(frozen=True, eq=False)
class Wanted:
    """A sum that is wanted of nodes.

    Attributes:
        purpose: what is added up.
        round: how many rounds are completed.
        users: how many users of each node it is made of.
        letters: what each node is asked.
        sizes: of what type and how long its lanes are, by the form that a node tells.
        also: how many users of each node are in a part of it alone, which is to hide them as well.
        only: the nodes of which alone it may be, because shares were asked for to read a sum of theirs: a node answers
            a repetition with the same numbers, so that a sum of others beside it would tell the difference.
    """

    purpose: str
    round: int
    users: Mapping[str, int]
    letters: Mapping[str, Letter]
    sizes: Callable[[Facts], Mapping[str, Any]]
    also: Mapping[str, int] = field(default_factory=dict)
    only: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """How the run names this sum, also when the round is made again."""
        return f"{self.purpose} {self.round}"

    @property
    def names(self) -> list[str]:
        """The nodes that are asked."""
        return [name for name in self.letters if not self.only or name in self.only]

    def asked(self, name: str, model: str) -> list[str]:
        """Tell by what a node knows again what it is asked."""
        return questions_of(self.letters[name], model)

    def lacks(self, config: ExperimentConfig, names: Collection[str]) -> str | None:
        """Tell what a sum of these nodes lacks to hide each of them; None if nothing."""
        if self.only and frozenset(names) != self.only:
            return (
                f"it was begun to be read as one of {', '.join(sorted(self.only))}, and another would betray the rest"
            )
        return _too_few(config, names, self.users) or (_too_few(config, names, self.also) if self.also else None)

    def among(self, config: ExperimentConfig, names: Collection[str]) -> "Wanted":
        """Leave out the part that is of some nodes alone, where those of them that are there cannot hide each other.

        Of which nodes a sum is decides whether that part is in it, so that it is the same when it is made again.
        """
        if not self.also or not _too_few(config, names, self.also):
            return self
        letters = {name: _without_also(letter) for name, letter in self.letters.items()}
        return replace(self, also={}, letters=letters, sizes=lambda form: _without(self.sizes(form), PAIRS))


def _too_few(config: ExperimentConfig, names: Collection[str], users: Mapping[str, int]) -> str | None:
    there = [users[name] for name in names if users.get(name)]
    if len(there) < (least := config.flower.minimum_nodes):
        return f"it would be of {len(there)} nodes, and flower.minimum_nodes = {least} are needed"
    if sum(there) < (least := config.secure_sums.minimum_cohort):
        return f"it would be of {sum(there)} users, and secure_sums.minimum_cohort = {least} are needed"
    return None


def _without_also(letter: Letter) -> Letter:
    return replace(letter, arrays=_without(letter.arrays, "handing_on"))


def _without(found: Mapping[str, T], name: str) -> dict[str, T]:
    """Leave one out by name."""
    return {each: value for each, value in found.items() if each != name}


@dataclass(frozen=True, eq=False)
class Found:
    """A sum of which the masks are off.

    Attributes:
        session: in which it was made.
        counted: the nodes whose words are in it.
        lanes: the words.
        form: what the nodes told of their form.
        num_bytes: what all nodes have sent for it.
    """

    session: MaskedSession
    counted: Sequence[str]
    lanes: Lanes
    form: Facts
    num_bytes: int


@dataclass(frozen=True, eq=False)
class Trained:
    """A round's sum of updates; see ``Found``.

    Attributes:
        update: the sum.
        counted: of which nodes.
        missing: which were asked and are not among them.
        num_bytes: what all nodes have sent for it.
        key_bytes: what each was sent of keys and shares.
    """

    update: UpdateSum
    counted: Sequence[str]
    missing: Sequence[str]
    num_bytes: int
    key_bytes: int
