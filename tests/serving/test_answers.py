"""Answers against brute force for all parameters together: what is hidden, order, pages, batches, reasons."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedmem.config import DataConfig
from fedmem.contracts import RecommendationResponse, ScoreParts, Selection
from fedmem.controls import control_recommenders
from fedmem.errors import ConfigError, ConflictError, UnknownError
from fedmem.federated.scoring import UserContext
from fedmem.serving import Item, Question, Recommender
from fedmem.serving.catalogue import KEPT_FILTERS, ServedCatalogue
from tests.serving.builders import (
    EMPTY_USER,
    GENRES,
    SHORT_USER,
    ask,
    asking,
    drawn_checkpoint,
    drawn_memory,
    drawn_recommender,
    drawn_snapshot,
)
from tests.tiny import ITEMS

SNAPSHOT = drawn_snapshot()
CHECKPOINT = drawn_checkpoint(SNAPSHOT)
RECOMMENDER = Recommender.of(SNAPSHOT, CHECKPOINT, "drawn")
NO_MEMORY_AT_ALL = control_recommenders(SNAPSHOT, CHECKPOINT)["no memory at all"]
IDS = st.sampled_from([str(item) for item in range(1, ITEMS + 1)] + ["no such item", " "])
USERS = st.sampled_from([*RECOMMENDER.dataset.vocabulary.users, "stranger"])


@st.composite
def questions(draw, **fixed):
    """Users, histories and both, with and without a memory, with any filter."""
    kind = draw(st.sampled_from(["user", "history", "longer"]))
    some = tuple(draw(st.lists(IDS, max_size=20)))
    who = {
        "user": {"user_id": draw(USERS)},
        "history": {"history": some},
        "longer": {"user_id": draw(USERS), "since": some},
    }[kind]
    memory = (
        drawn_memory([3, 9, 4, 12], np.random.default_rng(draw(st.integers(0, 9)))) if draw(st.booleans()) else None
    )
    options = {
        "entries": memory,
        "memory": draw(st.booleans()),
        "k": draw(st.integers(1, 40)),
        "offset": draw(st.integers(0, 35)),
        "category": draw(st.sampled_from([None, *GENRES])),
        "exclude": tuple(draw(st.lists(IDS, max_size=8))),
        "include_seen": draw(st.booleans()),
        "explain": draw(st.booleans()),
    }
    return ask(**who, **(options | fixed))


def history_of(question: Question) -> list[int]:
    known = [int(raw) for raw in (*(question.history or ()), *question.since) if raw.isdecimal()]
    user = None if question.user_id is None else RECOMMENDER.user_index(question.user_id)
    return known if user is None else [*RECOMMENDER.dataset.history(user).tolist(), *known]


def expected_scores(question: Question) -> np.ndarray:
    """As evaluation scores: the model in torch, a batch of one."""
    history = np.array(history_of(question), np.int32)
    user = None if question.user_id is None else RECOMMENDER.user_index(question.user_id)
    if not question.selection.memory:
        return NO_MEMORY_AT_ALL.scorer.score([UserContext()], [history])[0]
    if question.memory is not None:
        context = UserContext(question.memory)
    elif user is None:
        context = RECOMMENDER.contexts.of_history(history)
    else:
        return RECOMMENDER.score(np.array([user]), [history])[0]
    return RECOMMENDER.scorer.score([context], [history])[0]


def visible(question: Question) -> set[int]:
    items = {index for index in range(1, ITEMS + 1) if question.selection.category in (None, *genres(index))}
    items -= {int(raw) for raw in question.selection.exclude if raw.isdecimal()}
    return items if question.selection.include_seen else items - set(history_of(question))


def genres(index: int) -> tuple[str, ...]:
    return RECOMMENDER.dataset.items[index - 1].genres


def ids(answer) -> list[str]:
    return [scored.item.item_id for scored in answer.items]


@given(questions())
def test_an_answer_is_the_page_of_the_ranking_that_evaluation_makes(question):
    answer, scores = RECOMMENDER.answer(question), expected_scores(question)
    left = visible(question)
    found = [int(raw) for raw in ids(answer)]
    assert len(found) == len(set(found)) == max(0, min(question.selection.k, len(left) - question.selection.offset))
    assert set(found) <= left
    tolerance = 1e-5 * max(1.0, float(np.abs(scores).max()))
    assert [scored.score for scored in answer.items] == sorted((s.score for s in answer.items), reverse=True)
    for scored, index in zip(answer.items, found, strict=True):
        assert scored.score == pytest.approx(scores[index], abs=tolerance)
    ranked = sorted((float(scores[index]) for index in left), reverse=True)
    page = ranked[question.selection.offset : question.selection.offset + question.selection.k]
    assert [scored.score for scored in answer.items] == pytest.approx(page, abs=tolerance)
    assert answer.more == (len(left) > question.selection.offset + question.selection.k)
    assert set(answer.unknown_items) == {
        raw for raw in (*(question.history or ()), *question.since, *question.selection.exclude) if not raw.isdecimal()
    }


@given(questions(offset=0), st.integers(1, 11))
def test_pages_are_disjoint_and_together_the_whole(question, size):
    whole = RECOMMENDER.answer(asking(question, k=ITEMS, explain=False))
    pages, more = [], True
    while more:
        page = RECOMMENDER.answer(asking(question, k=size, offset=len(pages), explain=False))
        pages += page.items
        more = page.more
    assert tuple(pages) == whole.items
    assert not whole.more


@given(st.lists(questions(), min_size=1, max_size=8))
def test_a_batch_is_its_questions_one_by_one(asked):
    assert RECOMMENDER.answer_many(asked) == [RECOMMENDER.answer(question) for question in asked]


@given(questions(explain=True))
@example(ask(history=(), entries=drawn_memory([3, 9], np.random.default_rng(0)), explain=True))
def test_the_parts_sum_to_the_score(question):
    answer = RECOMMENDER.answer(question)
    for scored in answer.items:
        parts = scored.parts
        assert sum_of(parts) == pytest.approx(scored.score, abs=1e-5 * max(1, abs(scored.score)))
        assert {part.item_id for part in parts.remembered} <= {str(item) for item in history_of(question)}
    reasons = answer.explanation
    reads = question.selection.memory and answer.strategy != "popularity"
    assert bool(reasons.gates) is reads
    strength = RECOMMENDER.scorer.strengths.after(history_of(question))
    assert reasons.fusion.get("transitions") == (strength if question.selection.memory else None)
    if not reads:
        assert (reasons.memory, reasons.nothing) == ((), {})
        return
    assert sum(reasons.gates.values()) == pytest.approx(1, abs=1e-5)
    for expert in reasons.gates:
        read = sum(entry.weights[expert] for entry in reasons.memory)
        assert read + reasons.nothing[expert] == pytest.approx(1, abs=1e-5)


def sum_of(parts: ScoreParts) -> float:
    return sum(parts.summands().values())


BARE = {"text": False, "image": False, "preferences": False}  # prototypes are then clustered by the trained item table
NO_MEMORY = {"ablation": {"disable_memory": True}}
NO_RETRIEVER = {"ablation": {"disable_moe": True}}


@pytest.mark.parametrize("options", [BARE, NO_MEMORY, NO_RETRIEVER, BARE | NO_MEMORY, BARE | NO_RETRIEVER])
@pytest.mark.parametrize("user", ["3", SHORT_USER, EMPTY_USER])
def test_a_model_that_lacks_parts_explains_itself_by_the_others(options, user):
    recommender = drawn_recommender(**options)
    answer = recommender.answer(ask(user, explain=True))
    reads = recommender.config.uses_memory and answer.strategy != "popularity"
    assert set(answer.explanation.gates) == ({"sequential"} if reads else set())
    assert bool(answer.explanation.memory) is reads
    for scored in answer.items:
        assert sum_of(scored.parts) == pytest.approx(scored.score, abs=1e-5 * max(1, abs(scored.score)))


@given(questions(explain=True))
def test_an_explanation_changes_nothing(question):
    with_reasons, without = RECOMMENDER.answer(question), RECOMMENDER.answer(asking(question, explain=False))
    assert ids(with_reasons) == ids(without)
    assert without.explanation is None
    assert all(scored.parts is None for scored in without.items)


@given(questions())
def test_an_answer_crosses_http(question):
    answer = RECOMMENDER.answer(question)
    response = answer.response(question.user_id, next_page="/next", image_url=lambda item: f"/images/{item.item_id}")
    assert RecommendationResponse.model_validate_json(response.model_dump_json()) == response
    assert response.next == ("/next" if answer.more else None)
    assert [item.title for item in response.items] == [f"Film {item.item_id}" for item in response.items]
    assert all(item.image_url == f"/images/{item.item_id}" for item in response.items)


def test_reasons_name_what_was_read():
    reasons = RECOMMENDER.answer(ask("3", explain=True)).explanation
    remembered = {str(item) for item in RECOMMENDER.trained.memories[3].items}
    assert {entry.item_id for entry in reasons.memory if entry.kind == "item"} == remembered
    assert {entry.title for entry in reasons.memory if entry.kind == "item"} == {f"Film {raw}" for raw in remembered}
    prototypes = [entry for entry in reasons.memory if entry.kind == "prototype"]
    assert sorted(entry.prototype for entry in prototypes) == [0, 1, 2]
    assert all(entry.title.startswith("Film ") for entry in prototypes)


def test_a_category_that_nothing_has_is_an_error_that_names_a_near_one():
    with pytest.raises(ConfigError, match=r"'Comdy'.*did you mean 'Comedy'"):
        RECOMMENDER.answer(ask("3", category="Comdy"))


def test_only_some_genres_columns_are_kept():
    items = tuple(Item(str(number), genres=(f"genre {number}",)) for number in range(1, 200))
    catalogue = ServedCatalogue(items, 199)
    for _ in range(2):
        for number in range(1, 200):
            assert np.flatnonzero(~catalogue.outside(Selection(category=f"genre {number}"))).tolist() == [number]
    assert catalogue._outside.cache_info().currsize == KEPT_FILTERS


# Strategies and what is known of a user


@pytest.mark.parametrize(
    ("question", "strategy"),
    [
        (ask("3"), "model"),
        (ask("0"), "global_memory"),
        (ask("0", since=("9",)), "global_memory"),
        (ask("0", since=("9", "12", "14")), "model"),
        (ask("stranger"), "popularity"),
        (ask("stranger", since=("9",)), "global_memory"),
        (ask(history=()), "popularity"),
        (ask(history=("no such item",)), "popularity"),
        (ask(history=("1", "2", "3", "4", "5")), "model"),
        (ask("3", memory=False), "no_memory"),
        (ask("stranger", memory=False), "no_memory"),
        (ask(history=("9",), memory=False), "no_memory"),
    ],
)
def test_every_answer_says_by_which_strategy(question, strategy):
    assert RECOMMENDER.answer(question).strategy == strategy


def test_without_memory_an_answer_is_the_controls():
    for user in ("3", "5"):
        answer = RECOMMENDER.answer(ask(user, memory=False, k=ITEMS))
        control = NO_MEMORY_AT_ALL.answer(ask(user, k=ITEMS))
        assert ids(answer) == ids(control) != ids(RECOMMENDER.answer(ask(user, k=ITEMS)))


# One prototype


def test_one_prototype_alone_is_what_a_new_user_reads():
    found = set()
    for index in range(3):
        alone = CHECKPOINT.server.global_memory.scaled(np.arange(3) == index)
        server = replace(CHECKPOINT.server, global_memory=alone, transitions=None)
        expected = Recommender.of(SNAPSHOT, replace(CHECKPOINT, server=server), "alone")
        scores = expected.scorer.score([UserContext()], [np.zeros(0, np.int32)])[0]
        answer = RECOMMENDER.with_prototype(index).answer(ask(k=ITEMS, explain=True))
        assert answer.strategy == "prototypes"
        assert [s.score for s in answer.items] == pytest.approx([scores[int(raw)] for raw in ids(answer)], abs=1e-4)
        assert [s.score for s in answer.items] == sorted((s.score for s in answer.items), reverse=True)
        read = {entry.prototype for entry in answer.explanation.memory if any(entry.weights.values())}
        assert read <= {index}
        found.add(tuple(ids(answer)))
    assert len(found) == 3
    assert ids(RECOMMENDER.answer(ask("3"))) == ids(Recommender.of(SNAPSHOT, CHECKPOINT, "same").answer(ask("3")))


def test_a_prototype_that_there_is_not():
    with pytest.raises(UnknownError, match="no prototype 3; it has 0 to 2"):
        RECOMMENDER.with_prototype(3)
    with pytest.raises(UnknownError, match="no prototype -1"):
        RECOMMENDER.with_prototype(-1)
    with pytest.raises(ConflictError, match="enable_prototype_aggregation"):
        drawn_recommender(**NO_MEMORY).with_prototype(0)


def test_feedback_lengthens_the_sequence_and_keeps_the_memory():
    before, after = RECOMMENDER.answer(ask("3", k=ITEMS)), RECOMMENDER.answer(ask("3", since=("1",), k=ITEMS))
    assert [s.score for s in before.items] != [s.score for s in after.items]
    history = [*map(str, RECOMMENDER.dataset.history(3)), "1"]
    assert after == RECOMMENDER.answer(ask("3", history=history, k=ITEMS))


# Vectors that are kept


def counted(recommender: Recommender, monkeypatch) -> list[int]:
    lengths = []
    query = recommender.queries.query

    def count(context, history):
        lengths.append(len(history))
        return query(context, history)

    monkeypatch.setattr(recommender.queries, "query", count)
    return lengths


def test_a_users_vector_is_computed_once_for_a_history(monkeypatch):
    recommender = drawn_recommender()
    computed = counted(recommender, monkeypatch)
    for k in (3, 5, 5):
        recommender.answer(ask("3", k=k))
    assert len(computed) == 1
    recommender.answer(ask("3", since=("1",)))
    recommender.answer(ask("3", since=("2",)))
    assert len(computed) == 3
    for _ in range(2):
        recommender.answer(ask(history=("1", "2")))
    assert len(computed) == 5, "a history without a user is not kept"


def test_so_many_vectors_are_kept_and_no_more(monkeypatch):
    recommender = drawn_recommender()
    recommender.vectors.capacity = 2
    computed = counted(recommender, monkeypatch)
    for user in ("1", "2", "1", "3", "1", "2"):
        recommender.answer(ask(user))
    assert len(recommender.vectors) == 2
    assert len(computed) == 4  # 1, 2, 3, and 2 again, whom 3 displaced


def test_nothing_is_kept_of_an_empty_history():
    recommender = drawn_recommender()
    recommender.answer(ask("stranger"))
    recommender.answer(ask("another stranger"))
    assert len(recommender.vectors) == 0


@pytest.mark.parametrize("question", [ask("3"), ask("newcomer", since=("3", "9", "4", "12", "14"))])
def test_who_is_forgotten_while_a_vector_is_computed_is_forgotten(question, monkeypatch):
    recommender = drawn_recommender()
    query = recommender.queries.query

    def forgotten_meanwhile(context, history):
        recommender.forget_user(question.user_id)
        return query(context, history)

    with monkeypatch.context() as patch:
        patch.setattr(recommender.queries, "query", forgotten_meanwhile)
        recommender.answer(question)
    assert len(recommender.vectors) == 0
    recommender.answer(replace(question, since=("3", "9", "4", "12", "14")))
    assert len(recommender.vectors) == 1, "who comes back is kept again"


def test_who_is_forgotten_is_unknown():
    recommender = drawn_recommender()
    recommender.answer(ask("3"))
    recommender.forget_user("3")
    assert 3 not in recommender.trained.memories
    assert len(recommender.vectors) == 0
    assert recommender.answer(ask("3")) == recommender.answer(ask("stranger"))
    recommender.forget_user("3")
    recommender.forget_user("stranger")
    assert recommender.trained.forgotten == {"3"}


# Similar items


def test_similar_items_are_those_of_greatest_cosine():
    matrix = RECOMMENDER.scorer.table.matrix.numpy().astype(np.float64)
    unit = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    found = RECOMMENDER.similar("7", k=5)
    cosine = unit @ unit[7]
    expected = [index for index in np.argsort(-cosine, kind="stable") if index not in (0, 7)][:5]
    assert [int(near.item.item_id) for near in found.items] == expected
    assert [near.score for near in found.items] == pytest.approx(cosine[expected], abs=1e-5)
    assert len(RECOMMENDER.similar("7", k=100).items) == ITEMS - 1
    assert found.response().title == "Film 7"


@pytest.mark.parametrize("repeats", ["hide", "offer"])
def test_what_is_offered_follows_the_models_setting_unless_the_question_says(repeats):
    config = SNAPSHOT.config.model_copy(update={"data": DataConfig(repeats=repeats)})
    recommender = Recommender.of(replace(SNAPSHOT, config=config), CHECKPOINT, "drawn")
    for include_seen, again in ((None, repeats == "offer"), (True, True), (False, False)):
        answer = recommender.answer(ask(history=["3", "9", "3"], k=ITEMS, include_seen=include_seen))
        assert ({"3", "9"} <= set(ids(answer)), len(answer.items)) == (again, ITEMS if again else ITEMS - 2)
