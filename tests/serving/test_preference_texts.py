"""A history that arrives without a preference text is given one, as a client's is made; another's text tells."""

from dataclasses import replace

import numpy as np
import pytest

from fedmem.errors import FeatureError
from fedmem.serving import Recommender
from fedmem.serving.preference_texts import preference_of
from fedmem.serving.user_contexts import REPLAY
from tests.serving.builders import ask, drawn_checkpoint, drawn_snapshot

NOTE = "drawn sha256:5f"
HISTORY = ("2", "4", "6", "9", "12", "3", "6")


class WordCounts:
    """Encodes a text as how often it has each of seven letters."""

    identity = NOTE

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    @property
    def texts(self) -> list[str]:
        return [text for call in self.calls for text in call]

    def encode_unkept(self, texts: list[str]) -> dict[str, np.ndarray]:
        self.calls.append(list(texts))
        return {text: np.array([text.count(letter) for letter in "aeiourD"], np.float32) for text in texts}


@pytest.fixture
def encoder(monkeypatch):
    encoder = WordCounts()
    monkeypatch.setattr("fedmem.serving.preference_texts.encoder_of", lambda name: encoder)
    return encoder


def snapshot_with_texts(**options):
    return replace(drawn_snapshot(**options), provenance={"preference_text": f"{NOTE}, 8 of 12 users"})


def indices(history):
    return np.array([int(item) for item in history], np.int32)


def test_the_text_is_that_of_the_first_half_encoded_as_the_items_texts_are(encoder):
    snapshot = snapshot_with_texts()
    found = preference_of(snapshot, indices(HISTORY))
    assert encoder.texts == ["Comedy, Drama, War. From the 1990s. Often Comedy with Drama, Comedy with War."]
    raw = np.array([encoder.texts[0].count(letter) for letter in "aeiourD"], np.float32)
    np.testing.assert_array_equal(found, snapshot.features.vectors["text"].transform(raw))


def test_where_no_text_can_be_made_there_is_none(encoder, monkeypatch, caplog):
    snapshot = snapshot_with_texts()
    assert preference_of(snapshot, indices(HISTORY[:1])) is None
    assert preference_of(drawn_snapshot(), indices(HISTORY)) is None  # encoded by another
    assert preference_of(snapshot_with_texts(preferences=False), indices(HISTORY)) is None
    assert preference_of(snapshot_with_texts(text=False), indices(HISTORY)) is None

    class Absent:
        @property
        def identity(self):
            raise FeatureError("no weights here")

    monkeypatch.setattr("fedmem.serving.preference_texts.encoder_of", lambda name: Absent())
    for _ in range(2):
        assert preference_of(snapshot, indices(HISTORY)) is None
    assert [record.getMessage() for record in caplog.records] == [
        "histories that are sent are answered without a preference text: no weights here"
    ]


def test_a_history_that_is_sent_is_replayed_and_read_with_its_text(encoder):
    checkpoint = drawn_checkpoint(drawn_snapshot())
    with_text, without = (
        Recommender.of(snapshot, checkpoint, "drawn") for snapshot in (snapshot_with_texts(), drawn_snapshot())
    )
    context = with_text.contexts.of_history(indices(HISTORY))
    np.testing.assert_array_equal(context.preference, preference_of(with_text.trained.snapshot, indices(HISTORY)))
    surprises = [r.contexts.of_history(indices(HISTORY)).memory.surprise for r in (with_text, without)]
    assert len(surprises[0]) != len(surprises[1]) or not np.allclose(*surprises)
    scores = [r.scores(ask(history=HISTORY)) for r in (with_text, without)]
    assert not np.allclose(*scores, atol=1e-3)


def test_the_texts_of_a_batch_are_encoded_in_one_call_and_each_answer_is_that_of_its_question_alone(encoder):
    snapshot = snapshot_with_texts()
    recommender = Recommender.of(snapshot, drawn_checkpoint(drawn_snapshot()), "drawn")
    others = (HISTORY[::-1], HISTORY[2:] + HISTORY[:2], HISTORY[:1])
    questions = [ask(history=history) for history in (HISTORY, *others, HISTORY)] + [ask("3")]
    together = recommender.answer_many(questions)
    assert len(encoder.calls) == 1
    assert together == [recommender.answer(question) for question in questions]


def test_the_work_of_an_answer_is_that_of_its_items_and_of_what_is_replayed_and_encoded_for_it(encoder):
    checkpoint = drawn_checkpoint(drawn_snapshot())
    with_text, without = (
        Recommender.of(snapshot, checkpoint, "drawn") for snapshot in (snapshot_with_texts(), drawn_snapshot())
    )
    history, length = ask(history=HISTORY, k=7), with_text.config.model.max_seq_len
    assert (without.work(history), with_text.work(history)) == (7 + REPLAY, 7 + 2 * REPLAY)
    longer = ask(history=HISTORY * length, k=7)
    assert without.work(longer) == 7 + len(HISTORY) * REPLAY
    for question in (ask("3", k=7), ask(history=HISTORY[:1], k=7), ask(history=HISTORY, k=7, memory=False)):
        assert with_text.work(question) == 7


def test_another_users_text_changes_the_scores_by_more_than_next_to_nothing():
    snapshot = drawn_snapshot()
    texts = snapshot.user_features
    exchanged = replace(texts, preference=np.roll(texts.preference, 3, axis=0))  # of others who have one
    checkpoint = drawn_checkpoint(snapshot)
    users = [user for user in checkpoint.memories if texts.mask[user]]
    own, others = (
        Recommender.of(replace(snapshot, user_features=features), checkpoint, "drawn")
        for features in (texts, exchanged)
    )
    for user in users:
        expected, found = (r.scores(ask(str(user))) for r in (own, others))
        assert (found - expected).std() > 0.05 * expected.std()
