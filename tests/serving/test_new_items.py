"""New items: placed by their text, recommendable at once, never part of a sequence; known ones described anew."""

from dataclasses import replace

import numpy as np
import pytest

from fedmem.contracts import Selection
from fedmem.errors import FeatureError, UnknownItemError
from fedmem.modality import Modality
from fedmem.model.new_rows import REGULARISATION
from fedmem.serving import Question, Recommender, described_item
from fedmem.serving.new_items import KIN
from tests.serving.builders import ask, drawn_checkpoint, drawn_recommender, drawn_snapshot
from tests.tiny import ITEMS


class DrawnEncoder:
    """Encodes a text by its hash, as wide as the tiny features."""

    def encode(self, texts):
        return np.stack([np.random.default_rng(len(text)).standard_normal(7).astype(np.float32) for text in texts])


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr("fedmem.serving.new_items.encoder_of", lambda name: DrawnEncoder())


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return drawn_recommender()


NEW = described_item("new", "A Film (2031)", ("Comedy",), description="A clown laughs.")


def everything(recommender: Recommender, **options) -> list[str]:
    return [s.item.item_id for s in recommender.answer(ask("3", k=100, **options)).items]


def test_a_text_is_what_a_catalogue_would_have_made_of_it():
    assert (NEW.text, NEW.year) == ("A Film (2031). Comedy. A clown laughs.", 2031)
    assert described_item("x", "A Film", year=2031).text == "A Film (2031)"


def test_a_new_item_is_recommended_in_the_next_answer_and_this_one_stays(recommender):
    more = recommender.with_items([NEW])
    before, after = everything(recommender), everything(more)
    assert set(after) == {*before, "new"}
    assert [item for item in after if item != "new"] == before
    assert "new" not in everything(recommender)
    assert "new" in everything(more, category="Comedy")
    assert "new" not in everything(more, category="War")
    assert "new" not in everything(more, exclude=["new"])


def test_its_embedding_is_what_trained_items_of_such_a_text_have(recommender):
    more = recommender.with_items([NEW])
    model, features = recommender.scorer.model, recommender.trained.snapshot.features.vectors
    text = features[Modality.TEXT].transform(DrawnEncoder().encode([NEW.text])[0])
    column = more.scorer.columns[:, ITEMS + 1].numpy()
    trained = features[Modality.TEXT].rows[1:].astype(np.float64)
    lengths = np.linalg.norm(trained, axis=1, keepdims=True)
    units = np.divide(trained, lengths, out=np.zeros_like(trained), where=lengths > 0)
    rows = recommender.scorer.columns[:8, 1 : ITEMS + 1].numpy().T
    fitted = np.linalg.solve(units.T @ units + REGULARISATION * np.eye(7), units.T @ rows)
    embedding = text / np.linalg.norm(text) @ fitted
    adapted = model.retriever.text_adapter.weight.detach().numpy() @ text
    np.testing.assert_allclose(column[:8], embedding, atol=1e-5)
    np.testing.assert_allclose(column[8:14], adapted, atol=1e-5)
    assert not column[14:20].any(), "it has no image"
    alike = next(
        i for i in range(1, ITEMS + 1) if features[Modality.TEXT].mask[i] and not features[Modality.VISUAL].mask[i]
    )
    np.testing.assert_array_equal(column[20:], recommender.scorer.columns[20:, alike])
    np.testing.assert_array_equal(more.scorer.columns[:, : ITEMS + 1], recommender.scorer.columns)


def remembered_of(recommender: Recommender, item: str, question: Question) -> float:
    """What the transition memory adds to an item's score."""
    vector, _ = recommender.reader.read(recommender.resolve(question))
    return float(vector.remembered.of(np.array([recommender.catalogue.index(item)]))[0])


def test_it_follows_what_the_items_of_the_nearest_texts_follow(recommender):
    more = recommender.with_items([NEW])
    text = recommender.trained.snapshot.features.vectors[Modality.TEXT]
    own = text.transform(DrawnEncoder().encode([NEW.text])[0])
    cosines = text.rows[1:] @ own / np.maximum(np.linalg.norm(text.rows[1:], axis=1), 1e-9) / np.linalg.norm(own)
    kin = 1 + np.argsort(-cosines)[:KIN]
    weights = cosines[kin - 1] / cosines[kin - 1].sum()
    rows, question = recommender.scorer.transitions, ask("3")
    followed = rows.read(recommender.resolve(question).history).of(kin)
    assert followed.any()
    assert remembered_of(more, "new", question) == pytest.approx(
        recommender.scorer.strengths.general * weights @ followed
    )
    assert remembered_of(more, "7", question) == remembered_of(recommender, "7", question)


def test_nothing_leads_to_an_item_without_a_text_and_none_is_popular_by_its_kin(recommender):
    more = recommender.with_items([described_item("bare", ""), NEW])
    assert remembered_of(more, "bare", ask("3")) == 0
    assert remembered_of(more, "new", ask("3")) > 0
    assert remembered_of(more, "new", ask("unknown")) == 0


def test_kept_vectors_are_read_again_for_new_items():
    recommender = drawn_recommender()
    first = recommender.with_items([NEW])
    assert remembered_of(first, "new", ask("3")) > 0
    second = first.with_items([replace(NEW, item_id="twin")])
    assert remembered_of(second, "twin", ask("3")) == remembered_of(first, "new", ask("3"))
    assert second.with_held_out().scorer.kin is second.scorer.kin


def test_without_a_text_a_new_item_has_no_embedding(recommender):
    more = recommender.with_items([NEW, described_item("bare", "")])
    place = more.catalogue.index("bare")
    assert not more.scorer.columns[:8, place].any()
    assert more.scorer.columns[:8, more.catalogue.index("new")].any()


def test_it_is_hidden_once_seen_and_no_part_of_the_sequence(recommender):
    more = recommender.with_items([NEW])
    with_it = more.answer(ask("3", since=["new"], k=100))
    without = more.answer(ask("3", k=100, exclude=["new"]))
    assert with_it == without
    assert with_it.unknown_items == ()
    assert recommender.answer(ask("3", since=["new"])).unknown_items == ("new",)


def test_it_has_similar_items_and_is_one(recommender):
    twin = replace(NEW, item_id="twin")
    more = recommender.with_items([NEW]).with_items([twin])
    nearest = more.similar("new", 1).items[0]
    assert (nearest.item.item_id, nearest.score) == ("twin", pytest.approx(1, abs=1e-5))
    with pytest.raises(UnknownItemError, match="'new'"):
        recommender.similar("new")


def test_its_score_has_parts(recommender):
    answer = recommender.with_items([NEW]).answer(ask("3", k=100, explain=True))
    scored = next(one for one in answer.items if one.item == NEW)
    remembered = sum(part.score for part in scored.parts.remembered)
    assert remembered > 0
    total = scored.parts.sequence + sum(scored.parts.experts.values()) + scored.parts.availability + remembered
    assert total == pytest.approx(scored.score, abs=1e-5 * max(1, abs(scored.score)))


@pytest.mark.parametrize("index", [7, 3])  # with a text before, and without
def test_a_known_item_described_anew_is_as_if_it_had_been_so(index, recommender):
    """The same answers as by the same parameters on features with the new text."""
    snapshot = drawn_snapshot()
    changed = described_item(str(index), "Another title", ("War",))
    texts = snapshot.features.vectors[Modality.TEXT]
    rows, mask = texts.rows.copy(), texts.mask.copy()
    rows[index], mask[index] = texts.transform(DrawnEncoder().encode([changed.text])[0]), True
    changed_texts = {Modality.TEXT: replace(texts, rows=rows, mask=mask)}
    items = list(snapshot.dataset.items)
    items[index - 1] = changed
    told = replace(
        snapshot,
        features=replace(snapshot.features, vectors={**snapshot.features.vectors, **changed_texts}),
        dataset=replace(snapshot.dataset, items=tuple(items)),
    )
    checkpoint = drawn_checkpoint(snapshot)
    expected, found = Recommender.of(told, checkpoint, "drawn"), recommender.with_items([changed])
    for question in (ask("3", k=100), ask(history=[str(i) for i in range(1, 12)], k=100), ask("x", k=9)):
        a, b = found.answer(question), expected.answer(question)
        assert [s.item for s in a.items] == [s.item for s in b.items]
        assert [s.score for s in a.items] == pytest.approx([s.score for s in b.items], abs=1e-5)
    assert found.similar(str(index)).item.title == "Another title"


def test_a_model_without_texts_places_no_new_item():
    plain = drawn_recommender(text=False)
    with pytest.raises(FeatureError, match=r"features\.text=auto"):
        plain.with_items([NEW])
    told = plain.with_items([described_item("7", "Another title")])
    assert told.similar("7").item.title == "Another title"
    assert everything(told) == everything(plain)


def test_vectors_from_a_file_encode_no_new_text():
    recommender = drawn_recommender(model={"text_model_name": "vectors.npz"})
    with pytest.raises(FeatureError, match=r"vectors\.npz"):
        recommender.with_items([NEW])


def test_an_item_without_a_text_is_placed_by_nothing(recommender):
    more = recommender.with_items([replace(NEW, text=" ")])
    assert not more.scorer.columns[:20, ITEMS + 1].any()


def test_only_what_is_told_is_encoded(recommender, monkeypatch):
    encoded = []

    class Noting(DrawnEncoder):
        def encode(self, texts):
            encoded.extend(texts)
            return super().encode(texts)

    monkeypatch.setattr("fedmem.serving.new_items.encoder_of", lambda name: Noting())
    more = recommender.with_items([NEW])
    more.with_items([replace(NEW, item_id="twin", text="Another text")])
    assert encoded == [NEW.text, "Another text"]


def test_told_one_by_one_or_at_once_they_are_the_same(recommender):
    told = [
        NEW,
        replace(NEW, item_id="bare", text=" "),
        described_item("7", "Told anew", ("War",)),
        described_item("new", "Told again", ("Drama",)),
        described_item("3", "A text at last", ("War",)),
        described_item("7", "Told thrice", ("Drama",)),
    ]
    one_by_one = recommender
    for item in told:
        one_by_one = one_by_one.with_items([item])
    at_once = recommender.with_items([*{item.item_id: item for item in told}.values()])
    order = [at_once.catalogue.index(item.item_id) for item in one_by_one.catalogue.items]
    np.testing.assert_allclose(one_by_one.scorer.columns[:, 1:], at_once.scorer.columns[:, order], atol=1e-5)
    for question in (ask("3", k=100), ask(history=[str(i) for i in range(1, 12)], k=100)):
        a, b = one_by_one.answer(question), at_once.answer(question)
        assert {s.item.item_id: s.score for s in a.items} == pytest.approx(
            {s.item.item_id: s.score for s in b.items}, abs=1e-5
        )


def test_users_vectors_stay_until_an_item_of_theirs_changes():
    recommender = drawn_recommender()
    before = recommender.answer(ask("3", k=100))
    more = recommender.with_items([NEW])
    assert len(more.vectors) == 1
    after = more.answer(ask("3", k=100))
    assert [s for s in after.items if s.item.item_id != "new"] == list(before.items)
    fresh = drawn_recommender().with_items([NEW]).answer(ask("3", k=100))
    assert after == fresh, "as if it had been computed now"
    assert len(more.with_items([described_item("7", "Another title")]).vectors) == 0
    recommender.forget_user("3")
    assert len(more.vectors) == 0


def test_a_history_of_new_items_alone_is_read_as_the_items_that_their_texts_are_nearest_to(recommender):
    other = described_item("other", "Another Film", description="A storm, a ship and a long way home.")
    more = recommender.with_items([NEW, other])
    likes = [more.similar(new, k=ITEMS + 1).items for new in ("new", "other")]
    nearest = [next(s.item.item_id for s in found if s.item.item_id not in ("new", "other")) for found in likes]
    assert nearest[0] != nearest[1]
    found = more.answer(Question(history=("new", "other"), selection=Selection(k=100)))
    like = more.answer(Question(history=nearest, selection=Selection(k=100, include_seen=True)))
    assert found.strategy == like.strategy != "popularity"
    assert [(s.item.item_id, s.score) for s in found.items] == [
        (s.item.item_id, s.score) for s in like.items if s.item.item_id not in ("new", "other")
    ]
    with_trained = more.answer(Question(history=("new", "5"), selection=Selection(k=100)))
    alone = more.answer(Question(history=("5",), selection=Selection(k=100, exclude=("new",))))
    assert [s.item.item_id for s in with_trained.items] == [s.item.item_id for s in alone.items]
