"""What a node refuses in a secure sum, and that nothing it sends says anything."""

import json
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from fedmem.experiment import TrainingRun
from fedmem.nodes.letter import Letter
from fedmem.nodes.node import Node
from tests.nodes.conftest import LoopbackCourier
from tests.nodes.secured import SECURE, nodes_of, secured_snapshots


class Kept:
    """What one node was asked in a run, and what it answered, before anything else is asked."""

    def __init__(self, courier: LoopbackCourier, node: str = "berlin") -> None:
        self.courier, self.node = courier, node
        self.asked: list[Letter] = []
        self.answers: list[Letter] = []
        courier.trouble = self.keep

    def keep(self, name, asked, answer):
        if name == self.node:
            self.asked.append(asked)
            self.answers.append(answer)
        return answer

    def of(self, kind: str) -> tuple[Letter, Letter]:
        return next(
            (one, other) for one, other in zip(self.asked, self.answers, strict=True) if one.facts["kind"] == kind
        )

    def ask(self, letter: Letter, **facts) -> Letter:
        node = next(each for each in self.courier.of.values() if each.name == self.node)
        return node.answer(replace(letter, facts={**letter.facts, "order": 2**62, **facts}))


@pytest.fixture
def kept(tmp_path):
    """One round of four nodes."""
    _, apart = secured_snapshots()
    found = Kept(nodes_of(tmp_path / "nodes"))
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=found.courier)) as run:
        next(run.rounds())
        yield found


def in_new_session(kept: Kept, until: str) -> Letter:
    """Begin a session with one node, whose neighbours are those of the round; what it is asked next."""
    for kind in ("keys", "shares", "train"):
        asked, _ = kept.of(kind)
        if kind == until:
            return asked
        if kind == "shares":
            keys = {**asked.facts["keys"], "1": kept.keys}
            assert "error" not in kept.ask(asked, session="another", keys=keys).facts
        else:
            kept.keys = kept.ask(asked, session="another").facts["keys"]
    raise AssertionError(until)


def refused(kept: Kept, letter: Letter, caplog, **facts) -> str:
    answer = kept.ask(letter, **facts)
    assert answer.facts["error"] == "TrainingError; the node's own log says more"
    assert not answer.arrays
    return caplog.text


def test_a_sum_in_the_clear_is_refused(kept, caplog):
    train, _ = kept.of("train")
    facts = {key: value for key, value in train.facts.items() if key not in ("session", "sealed")}
    assert "asks for a sum in the clear" in refused(kept, replace(train, facts=facts), caplog)


def test_nothing_is_masked_twice_alike(kept, caplog):
    assert "its session is over" in refused(kept, kept.of("train")[0], caplog)


def test_shares_are_revealed_of_one_list_of_survivors(kept, caplog):
    asked, answer = kept.of("reveal")
    assert kept.ask(asked).facts["shares"] == answer.facts["shares"], "who did not hear it asks again"
    assert "twice, of different nodes" in refused(kept, asked, caplog, survivors=asked.facts["survivors"][1:])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"nodes": 2}, "the sum would be of 2 nodes, and 3"),
        ({"neighbours": [0]}, "are the fewest for this one"),
        ({"neighbours": [0, 0, 0]}, "are the fewest for this one"),
        ({"threshold": 2}, "2 of 4 shares would take a mask off, and 3 are the fewest"),
        ({"nodes": 9, "neighbours": [0, 2], "threshold": 2}, "2 of 3 shares would take a mask off, and 3 are the fe"),
    ],
)
def test_a_session_that_would_not_hide_the_node_is_refused(changed, said, kept, caplog):
    asked = in_new_session(kept, "shares")
    keys = {**asked.facts["keys"], "1": kept.keys}
    assert said in refused(kept, asked, caplog, session="another", keys=keys, **changed)


def test_keys_that_are_not_of_as_many_nodes_are_refused(kept, caplog):
    asked = in_new_session(kept, "shares")
    one = asked.facts["keys"]["0"]
    for keys in ({**asked.facts["keys"], "1": kept.keys, "2": one}, asked.facts["keys"]):
        assert "the keys of this sum are not those" in refused(kept, asked, caplog, session="another", keys=keys)
        caplog.clear()


def test_shares_that_were_sealed_for_another_sum_are_refused_and_whose_they_are_is_said(kept, caplog):
    asked = in_new_session(kept, "train")
    answer = kept.ask(asked, session="another")
    assert answer.facts["unopened"] == [int(owner) for owner in asked.facts["sealed"]]
    assert not answer.arrays
    assert "cannot be opened" in caplog.text


def test_before_its_words_are_sent_a_node_reveals_nothing(kept, caplog):
    in_new_session(kept, "train")
    assert "its session is over" in refused(kept, kept.of("reveal")[0], caplog, session="another")


@pytest.mark.parametrize("survivors", [[0, 1], [0, 1, 98, 99]])
def test_between_masking_and_revealing_a_node_has_no_secret_and_reveals_nothing_to_a_sum_of_too_few(
    survivors, tmp_path, caplog
):
    """A server that lied about who is left would read a sum of two, and the third by the difference."""
    _, apart = secured_snapshots()
    courier, found = nodes_of(tmp_path / "nodes"), []
    berlin = courier.of[102]

    def trouble(name, asked, answer):
        if (name, asked.facts["kind"]) == ("berlin", "train"):
            (path,) = berlin.store.rglob("secure_sum.json")
            found.append(json.loads(path.read_text())["device"]["secrets"])
            lie = {"kind": "reveal", "survivors": survivors, "of": ["a", "b", "c", "d"]}
            found.append(berlin.answer(replace(asked, facts={**asked.facts, **lie}, arrays={})).facts.get("error"))
        return answer

    courier.trouble = trouble
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        assert next(run.rounds()).metrics["nodes"] == 4
    assert found == [None, "TrainingError; the node's own log says more"]
    assert "asks 2 nodes for shares, and 3 are the fewest here" in caplog.text


def test_the_secrets_of_a_sum_are_gone_with_it(kept, tmp_path):
    for path in tmp_path.rglob("secure_sum.json"):
        assert json.loads(path.read_text()).keys() == {"session", "stage", "survivors", "shares"}


def test_an_owner_may_insist_on_secure_sums_of_so_many_nodes(tmp_path, caplog):
    for least, secure in ((3, {"enabled": False}), (5, SECURE)):
        _, apart = secured_snapshots(secure_sums=secure)
        courier = nodes_of(tmp_path / f"nodes-{least}")
        courier.of[102].least = least
        with closing(TrainingRun.start(tmp_path / f"run-{least}", apart, courier=courier)) as run:
            next(run.rounds())
            missed = {name: member.missed for name, member in run.population.roster.members.items()}
        assert missed == {"amsterdam": [], "cadiz": [], "delft": []} | ({"berlin": [1]} if least == 5 else {})
    assert "refuses runs without secure_sums.enabled" in caplog.text


def test_an_owner_may_begin_to_insist_in_the_middle_of_a_run(tmp_path, caplog):
    _, apart = secured_snapshots(secure_sums={"enabled": False})
    courier = nodes_of(tmp_path / "nodes")
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        rounds = run.rounds()
        assert next(rounds).metrics["nodes"] == 4
        courier.of[102].least = 3
        assert next(rounds).metrics["nodes"] == 3
    assert "refuses runs without secure_sums.enabled" in caplog.text


def test_the_text_of_an_error_that_was_not_foreseen_stays_at_the_node(kept, monkeypatch):
    def broken(*arguments):
        raise KeyError("ada took item 7")

    monkeypatch.setattr(Node, "_train", broken)
    assert kept.ask(kept.of("train")[0]).facts["error"] == "KeyError; the node's own log says more"


def recorded(folder, secure) -> tuple[list[Letter], bytes]:
    """What one node answers in five rounds of a run whose transitions have 31 items, and all its bytes."""
    _, apart = secured_snapshots(secure_sums=secure)
    courier = nodes_of(folder / "nodes")
    with closing(TrainingRun.start(folder / "run", apart, courier=courier)) as run:
        list(run.rounds())
    own = [content for name, content in courier.sent if name == "berlin"]
    return [Letter.from_bytes(content) for content in own], b"".join(own)


def test_what_a_node_sends_is_uniform_and_holds_no_parameter(tmp_path):
    plain, in_clear = recorded(_made(tmp_path / "plain"), {"enabled": False})
    masked, content = recorded(_made(tmp_path / "masked"), SECURE)
    lanes = [array for letter in masked for name, array in letter.arrays.items() if name != "trainable"]
    assert {name for letter in masked for name in letter.arrays} == {"trainable", "delta", "numbers", "pairs"}
    words = np.frombuffer(b"".join(lane.tobytes() for lane in lanes), np.uint8)
    assert len(words) > 50_000
    assert stats.chisquare(np.bincount(words, minlength=256)).pvalue > 1e-9, "one run in a billion"
    changes = [x for letter in plain for name, x in letter.arrays.items() if name.startswith("delta/")]
    pieces = [row.tobytes() for change in changes for row in change.reshape(-1, change.shape[-1]) if row.any()]
    assert all(piece in in_clear for piece in pieces if len(piece) >= 16)
    assert not any(piece in content for piece in pieces if len(piece) >= 16)


def _made(folder):
    folder.mkdir()
    return folder


def test_it_sends_nothing_but_what_is_documented(tmp_path, project_root):
    letters, _ = recorded(_made(tmp_path / "masked"), SECURE)
    facts = {name for letter in letters for name in letter.facts}
    asked = {"node", "kind", "order", "round", "cpu_seconds", "ready", "users"}
    assert facts == asked | {"keys", "least", "before", "sealed", "form", "shares"}
    told = (project_root / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert all(
        f"`{name}`" in told for name in ("keys", "least", "before", "sealed", "form", "shares", "numbers", "pairs")
    )
    forms = [
        letter.facts["form"] for letter in letters if "form" in letter.facts and letter.arrays.keys() != {"trainable"}
    ]
    for form in filter(None, forms):
        assert form.keys() == {"metrics", "prototypes", "row_weight"}
        assert not any(np.any(np.array(found[-1], float)) for found in form["metrics"].values()), "no number of it"
