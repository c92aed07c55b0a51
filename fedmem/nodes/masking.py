"""A node's part in a secure sum with other nodes, in four letters: keys, shares, masked words, revealed shares.

Its secrets come from the operating system, are other ones in every sum, and lie in the run's folder of its own store
from the first letter until it masks, what it holds of its neighbours' until the last, because each letter is answered
by another process.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedmem.checkpoint.atomic_files import read_json, write_json
from fedmem.config import ExperimentConfig
from fedmem.errors import TrainingError
from fedmem.nodes.letter import Letter
from fedmem.nodes.masked import Lanes
from fedmem.nodes.node_store import NodeStore
from fedmem.nodes.questions import model_of, questions_of, tags_of
from fedmem.nodes.sums_before import SumsBefore
from fedmem.secure_sums.client import MaskingClient, Shares
from fedmem.secure_sums.keys import public_key
from fedmem.secure_sums.sealing import seal, unseal
from fedmem.secure_sums.session import KEY_BYTES, Session, least_threshold
from fedmem.secure_sums.shamir import SHARE_BYTES

FILE = "secure_sum.json"
Keys = Sequence[str]  # a node's public keys in hexadecimal: of its masks, and of what is sealed for it


class Unopened(TrainingError):
    """What neighbours have sealed cannot be opened: they or the server sent something else than they should.

    Attributes:
        owners: which ones, by their numbers in the sum.
    """

    def __init__(self, owners: Sequence[int]) -> None:
        super().__init__(f"what {len(owners)} of a sum's nodes have sealed cannot be opened: it was changed")
        self.owners = list(owners)


class SystemDraws:
    """Draws secrets from the operating system."""

    def bytes(self, length: int, /) -> bytes:
        """Draw so many bytes."""
        return os.urandom(length)


@dataclass(frozen=True)
class Joined:
    """A node in a session, ready to mask once.

    Attributes:
        device: its secrets.
        session: the session, as far as the node is told of it.
        cohort: users of all nodes of the sum.
        nodes: how many nodes those are.
    """

    device: MaskingClient
    session: Session
    cohort: int
    nodes: int

    def masked(self, lanes: Lanes) -> Lanes:
        """Mask words in place."""
        self.device.mask(self.session, list(lanes.values()))
        return lanes


class MaskingNode:
    """A node in the sums of one run.

    Args:
        name: how the node is called.
        store: the run's folder at the node.
        config: the run's configuration.
        least: fewest nodes that the owner lets its sums be added up with.
    """

    def __init__(self, name: str, store: NodeStore, config: ExperimentConfig, least: int) -> None:
        self.name, self.path, self.before = name, store.path / FILE, SumsBefore(store.path)
        self.config = config
        self.owners, self.least = least, max(least, config.flower.minimum_nodes)

    def announce(self, letter: Letter) -> Letter:
        """Draw secrets for a session; publish their public keys, and of which nodes this sum was when it was read."""
        questions = [str(one) for one in letter.facts["questions"]]
        device, sealing = MaskingClient(int(letter.facts["party"]), SystemDraws()), os.urandom(KEY_BYTES)
        keys = [device.public_key.hex(), public_key(sealing).hex()]
        self._write(letter, "announced", device, {"sealing": sealing.hex(), "keys": keys, "questions": questions})
        return Letter({"keys": keys, "least": self.owners, "before": self.before.of(questions)})

    def share(self, letter: Letter) -> Letter:
        """Share the secrets with the neighbours, sealed, once it is checked with whom the sum is."""
        told = self._told(letter, "announced")
        facts, device = letter.facts, self._device(told)
        self._check(device.client, told["keys"], facts)
        session, label, sealed = _session(device.client, facts), facts["session"], {}
        for holder, shares in device.shares(session).items():
            if holder == device.client:
                device.hold(holder, shares)
                continue
            content = shares.key.to_bytes(SHARE_BYTES) + shares.seed.to_bytes(SHARE_BYTES)
            theirs = bytes.fromhex(facts["keys"][str(holder)][1])
            name = _label(label, device.client, holder)
            sealed[str(holder)] = seal(bytes.fromhex(told["sealing"]), theirs, name, content).hex()
        self._write(letter, "shared", device, {**told, "opened": dict(facts)})
        return Letter({"sealed": sealed})

    def join(self, letter: Letter) -> Joined:
        """Open the neighbours' shares; once, so that no two things are ever masked alike.

        Raises:
            Unopened: if some cannot be opened.
            TrainingError: if there is no such session here, or it was joined before.
        """
        if "session" not in letter.facts:
            raise TrainingError("the server asks for a sum in the clear, and this run's are secure")
        told = self._told(letter, "shared")
        if questions_of(letter, model_of(letter)) != told["questions"]:
            raise TrainingError("the server asks for another sum than it took keys for")
        facts, device = told["opened"], self._device(told)
        sealing, sealed = bytes.fromhex(told["sealing"]), letter.facts["sealed"]
        opened = {owner: _opened(facts, sealing, device.client, owner, sealed) for owner in facts["neighbours"]}
        for owner, shares in opened.items():
            if shares is not None:
                device.hold(owner, shares)
        if unopened := [owner for owner, shares in opened.items() if shares is None]:
            raise Unopened(unopened)
        self._write(letter, "masked", device, {"opened": facts, "questions": told["questions"]}, secrets=False)
        return Joined(device, _session(device.client, facts), int(facts["cohort"]), int(facts["nodes"]))

    def reveal(self, letter: Letter) -> Letter:
        """Reveal, of each neighbour, what takes one of its masks off; the same again to who asks the same again.

        Raises:
            TrainingError: if it was asked about others before, or about too few.
        """
        survivors = sorted(int(one) for one in letter.facts["survivors"])
        told = self._told(letter, "masked", "revealed")
        if told["stage"] == "revealed":
            if told["survivors"] != survivors:
                raise TrainingError("the server asks for shares twice, of different nodes")
            return Letter({"shares": told["shares"]})
        device, facts = self._device(told), told["opened"]
        least = max(facts["threshold"], min(self.least, len(facts["neighbours"]) + 1))
        known = set(survivors) & {device.client, *facts["neighbours"]}
        if device.client not in known or len(known) < least:
            raise TrainingError(f"the server asks {len(known)} nodes for shares, and {least} are the fewest here")
        self._note(told["questions"], [str(tag) for tag in letter.facts["of"]], len(known))
        shares = {str(owner): hex(share) for owner, share in device.reveal(set(survivors)).items()}
        # The secrets go with this: from here on nothing of this sum can be unmasked by who reads the disk.
        found = {"session": letter.facts["session"], "survivors": survivors, "shares": shares}
        write_json(self.path, {**found, "stage": "revealed"})
        return Letter({"shares": shares})

    def _note(self, questions: Sequence[str], nodes: Sequence[str], survivors: int) -> None:
        """Note of which nodes the sum is; refuse it where it was of others before, whose difference it would tell."""
        before = self.before.of(questions)
        if before and before != nodes:
            raise TrainingError(f"the sum was of {len(before)} nodes when it was read before, and would be of others")
        if len(set(nodes)) < max(self.least, survivors) or not {*tags_of([self.name])} <= set(nodes):
            raise TrainingError(f"the server names {len(nodes)} nodes of a sum of {survivors} or more")
        self.before.note(questions, nodes)

    def _check(self, own: int, keys: Keys, facts: Mapping[str, Any]) -> None:
        """Refuse a session that would not hide the node; the server cannot widen it afterwards."""
        others, nodes, threshold = facts["neighbours"], int(facts["nodes"]), int(facts["threshold"])
        wanted = max(self.owners - 1, min(self.least - 1, self.config.secure_sums.neighbours))
        known = [key for one in others for key in facts["keys"][str(one)]] + list(keys)
        if nodes < self.least or len(set(others) - {own}) < wanted:
            raise TrainingError(f"the sum would be of {nodes} nodes, and {self.least} are the fewest for this one")
        if len(set(known)) != len(known) or facts["keys"][str(own)] != keys or own in others:
            raise TrainingError("the keys of this sum are not those of as many nodes")
        if threshold < (fewest := least_threshold(len(others) + 1, nodes)):
            raise TrainingError(
                f"{threshold} of {len(others) + 1} shares would take a mask off, and {fewest} are the fewest that keep "
                "a server from reading a part of the sum"
            )

    def _told(self, letter: Letter, *stages: str) -> dict[str, Any]:
        found = read_json(self.path) if self.path.exists() else {"session": None, "stage": None}
        if found["session"] != letter.facts["session"] or found["stage"] not in stages:
            raise TrainingError("the server asks for what does not come next in a secure sum: its session is over")
        return found

    def _device(self, told: Mapping[str, Any]) -> MaskingClient:
        return MaskingClient.from_json(told["device"], SystemDraws())

    def _write(
        self, letter: Letter, stage: str, device: MaskingClient, told: Mapping[str, Any], *, secrets: bool = True
    ) -> None:
        found = {"session": letter.facts["session"], "stage": stage, "device": device.to_json(secrets=secrets)}
        write_json(self.path, {**told, **found})


def _session(own: int, facts: Mapping[str, Any]) -> Session:
    """Read the node's part of a session: itself and its neighbours."""
    keys = {int(one): bytes.fromhex(mask) for one, (mask, _) in facts["keys"].items()}
    neighbours = {own: tuple(int(one) for one in facts["neighbours"])}
    return Session(facts["session"], int(facts["round"]), neighbours, keys, int(facts["threshold"]))


def _opened(facts: Mapping[str, Any], sealing: bytes, own: int, owner: int, sealed: Mapping[str, str]) -> Shares | None:
    """Open what a neighbour sealed; None if it cannot be opened."""
    theirs, name = bytes.fromhex(facts["keys"][str(owner)][1]), _label(facts["session"], owner, own)
    try:
        content = unseal(sealing, theirs, name, bytes.fromhex(sealed[str(owner)]))
    except (TrainingError, ValueError):
        return None
    return Shares(int.from_bytes(content[:SHARE_BYTES]), int.from_bytes(content[SHARE_BYTES:]))


def _label(session: str, owner: int, holder: int) -> bytes:
    return f"{session}: {owner} to {holder}".encode()
