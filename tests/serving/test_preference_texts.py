"""A history that arrives without a preference text is given one, as a client's is made; another's text tells."""

from dataclasses import replace

import numpy as np
import pytest

from fedmem.errors import FeatureError
from fedmem.serving import Recommender
from fedmem.serving.preference_texts import preference_of
from tests.serving.builders import ask, drawn_checkpoint, drawn_snapshot

NOTE = "drawn sha256:5f"
HISTORY = ("2", "4", "6", "9", "12", "3", "6")


class WordCounts:
    """Encodes a text as how often it has each of seven letters."""

    identity = NOTE

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode_one(self, text: str) -> np.ndarray:
        self.texts.append(text)
        return np.array([text.count(letter) for letter in "aeiourD"], np.float32)


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
