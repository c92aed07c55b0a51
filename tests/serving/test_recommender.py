"""Recommender: it ranks as evaluation does, never proposes what is known, and reads the memories it is given."""

from dataclasses import replace

import numpy as np
import pytest

from fedmem.checkpoint import Checkpoint, Snapshot
from fedmem.config import ExperimentConfig
from fedmem.config_reader import merged
from fedmem.errors import CheckpointError, ConfigError
from fedmem.evaluation.evaluate import evaluate
from fedmem.evaluation.ranking_metrics import target_rank
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.prototypes import Prototypes
from fedmem.memory.transitions import TransitionCounts
from fedmem.serving import Recommender
from tests.serving.builders import ask
from tests.tiny import ITEMS, tiny_config, tiny_dataset, tiny_snapshot, trained

# A high rate, so that a few rounds move the experts well away from their zero start.
QUICK = {
    "federated": {"server_learning_rate": 0.05, "num_rounds": 12, "server_averaging": 0.0},
    "evaluation": {"eval_every": 4},
    "ablation": {"disable_contrastive": True},
}
SHORT_USER = 0  # fewer interactions than training asks for


def quick(**changes) -> ExperimentConfig:
    return tiny_config(**merged(QUICK, changes))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    sequences = [[3, 8], *(tiny_dataset(11).history(user).tolist() for user in range(11))]
    dataset = type(tiny_dataset()).from_sequences(sequences, ITEMS)
    return trained(tmp_path_factory.mktemp("serving") / "run", tiny_snapshot(quick(), dataset))


@pytest.fixture(scope="module")
def snapshot(run) -> Snapshot:
    return run.directory.read_snapshot()


@pytest.fixture(scope="module")
def checkpoint(run) -> Checkpoint:
    """The last one, in which all parts have moved."""
    return run.directory.checkpoints.read(run.record.last)


@pytest.fixture(scope="module")
def recommender(snapshot, checkpoint) -> Recommender:
    return Recommender.of(snapshot, checkpoint, "test")


def ranking(recommender: Recommender, user_id: str) -> list[str]:
    return [scored.item.item_id for scored in recommender.recommend(user_id, ITEMS).items]


def scores(recommender: Recommender, user: int) -> np.ndarray:
    return recommender.score(np.array([user]), [recommender.dataset.history(user)])[0]


# Ranking


def test_evaluation_by_serving_is_evaluation_by_the_clients(run):
    served = Recommender.load(run.directory.path)
    table = evaluate(served.dataset, served, "test")
    assert table.to_dict() == run.record.test
    assert served.round == run.record.best
    assert served.model_version == f"run-{run.record.best:06d}"


def test_the_list_is_the_ranking_that_is_evaluated(recommender):
    """With the test item taken back out of the known history, its place in the list is its evaluated rank."""
    dataset = recommender.dataset
    for user in dataset.evaluated_users.tolist():
        known, target = dataset.test_input(user), dataset.test_target(user)
        if target in known:
            continue
        row = recommender.score(np.array([user]), [known])
        rank = target_rank(row, np.array([target]), [known])[0]
        question = ask(dataset.vocabulary.user_id(user), history=[str(item) for item in known], k=ITEMS)
        answer = recommender.answer(question)
        listed = [int(scored.item.item_id) for scored in answer.items]
        assert listed.index(target) + 1 == rank
        assert [scored.score for scored in answer.items] == sorted(
            (scored.score for scored in answer.items), reverse=True
        )


def test_what_is_known_is_never_recommended(recommender):
    for user, user_id in enumerate(recommender.dataset.vocabulary.users):
        listed = ranking(recommender, user_id)
        known = {str(item) for item in recommender.dataset.history(user)}
        assert not known & set(listed)
        assert len(listed) == len(set(listed)) == ITEMS - len(known)


def test_in_bulk_or_one_by_one(recommender):
    users = list(range(recommender.dataset.num_users))
    for user, answer in zip(users, recommender.recommend_users(users, 7), strict=True):
        single = recommender.recommend(recommender.dataset.vocabulary.user_id(user), 7)
        assert [scored.item for scored in answer.items] == [scored.item for scored in single.items]
        assert [s.score for s in answer.items] == pytest.approx([s.score for s in single.items], abs=1e-5)
        assert answer.strategy == single.strategy


@pytest.mark.parametrize("k", [1, 3, 10])
def test_fewer_are_the_head_of_more(recommender, k):
    listed = ranking(recommender, "3")
    assert [scored.item.item_id for scored in recommender.recommend("3", k).items] == listed[:k]


def test_more_than_there_are_is_all_there_are(recommender):
    assert len(recommender.recommend("3", 10**6).items) == len(ranking(recommender, "3"))


@pytest.mark.parametrize("k", [0, -1])
def test_none_is_an_error(recommender, k):
    with pytest.raises(ConfigError, match=f"k = {k}"):
        recommender.recommend("3", k)


# Strategies


def test_each_kind_of_user_has_a_strategy(recommender):
    assert recommender.recommend("3").strategy == "model"
    assert recommender.recommend(str(SHORT_USER)).strategy == "global_memory"
    assert recommender.recommend("stranger").strategy == "popularity"
    assert recommender.answer(ask(history=["4", "5", "6", "7", "8"])).strategy == "model"


def test_without_a_global_memory_a_new_user_is_cold(snapshot, checkpoint):
    bare = Recommender.of(snapshot, without_transitions(with_prototypes(checkpoint, None)), "bare")
    assert bare.recommend("stranger").strategy == "cold_model"
    prototypes = Recommender.of(snapshot, without_transitions(checkpoint), "prototypes")
    assert prototypes.recommend("stranger").strategy == "prototypes"


def test_who_is_unknown_gets_what_most_have_taken(snapshot, recommender):
    taken = snapshot.dataset.training_popularity()
    assert ranking(recommender, "stranger") == [str(i) for i in np.lexsort((np.arange(1, ITEMS + 1), -taken[1:])) + 1]


def test_whoever_is_forgotten_leaves_the_transitions_as_if_never_there(snapshot, checkpoint):
    served = Recommender.of(snapshot, checkpoint, "served")
    served.forget_user("3")
    training = snapshot.dataset.training_history(3)
    counts = checkpoint.server.transitions - TransitionCounts.of([training], ITEMS, snapshot.config.transitions.window)
    never = replace(checkpoint, server=replace(checkpoint.server, transitions=counts))
    expected = Recommender.of(snapshot, never, "never")
    for user in (1, 2, 4):
        np.testing.assert_array_equal(scores(served, user), scores(expected, user))
    served.forget_user("3")
    np.testing.assert_array_equal(scores(served, 1), scores(expected, 1))


def test_an_unknown_user_gets_what_an_empty_history_gets(recommender):
    empty = recommender.answer(ask(history=(), k=ITEMS))
    assert recommender.recommend("stranger", ITEMS) == empty
    assert len(empty.items) == ITEMS


def test_a_sent_history_gets_a_memory_of_its_own(recommender):
    history = np.array([1, 3, 4, 6, 9, 11, 12, 14, 15], np.int32)
    memory = recommender.contexts.replay(history)
    assert 0 < len(memory) <= 6
    assert set(memory.items) <= set(history)
    question = ask(history=[str(item) for item in history])
    assert recommender.answer(question) == recommender.answer(question)
    assert recommender.answer(replace(question, memory=memory)) == recommender.answer(question)


# What is read


def with_prototypes(checkpoint: Checkpoint, prototypes: Prototypes | None) -> Checkpoint:
    return replace(checkpoint, server=replace(checkpoint.server, global_memory=prototypes))


def without_transitions(checkpoint: Checkpoint) -> Checkpoint:
    return replace(checkpoint, server=replace(checkpoint.server, transitions=None))


def other_memory(entries: MemoryEntries, dim: int) -> MemoryEntries:
    """Other items at the same times."""
    items = (entries.items + 11) % ITEMS + 1
    drawn = np.random.default_rng(0).standard_normal((len(entries), dim)).astype(np.float32)
    return replace(entries, items=items.astype(np.int32), id_embedding=drawn)


def test_the_experts_have_moved(checkpoint):
    for expert in ("sequential", "text", "visual"):
        weight = checkpoint.server.averaged[f"retriever.experts.{expert}.output.weight"]
        assert np.abs(weight).max() > 0.01


def test_another_memory_changes_its_user_and_no_other(snapshot, checkpoint, recommender):
    user = max(checkpoint.memories, key=lambda one: len(checkpoint.memories[one]))
    changed = checkpoint.memories | {user: other_memory(checkpoint.memories[user], 8)}
    found = Recommender.of(snapshot, replace(checkpoint, memories=changed), "changed")
    assert ranking(found, str(user)) != ranking(recommender, str(user))
    for other in snapshot.dataset.trainable_users.tolist():
        if other != user:
            np.testing.assert_array_equal(scores(found, other), scores(recommender, other))


def test_another_global_memory_changes_a_cold_user(snapshot, checkpoint, recommender):
    old = checkpoint.server.global_memory
    turned = Prototypes({block: -3 * sums for block, sums in old.sums.items()}, old.counts)
    found = Recommender.of(snapshot, without_transitions(with_prototypes(checkpoint, turned)), "changed")
    before = Recommender.of(snapshot, without_transitions(checkpoint), "before")
    for user_id in ("stranger", str(SHORT_USER)):
        assert ranking(found, user_id) != ranking(before, user_id)


def test_emptying_both_is_the_model_without_memory(snapshot, checkpoint, recommender):
    """Bit for bit: what reads nothing adds nothing."""
    nothing = without_transitions(with_prototypes(checkpoint, None))
    emptied = Recommender.of(snapshot, replace(nothing, memories={}), "emptied")
    config = quick(ablation={"disable_memory": True})
    without = Recommender.of(replace(snapshot, config=config), checkpoint, "without")
    changed = 0
    for user in range(snapshot.dataset.num_users):
        np.testing.assert_array_equal(scores(emptied, user), scores(without, user))
        changed += not np.array_equal(scores(emptied, user), scores(recommender, user))
    assert changed == snapshot.dataset.num_users
    assert ranking(emptied, "stranger") == ranking(without, "stranger")


def test_a_preference_text_is_read(snapshot, checkpoint, recommender):
    texts = snapshot.user_features
    turned = replace(snapshot, user_features=replace(texts, preference=-5 * texts.preference))
    found = Recommender.of(turned, checkpoint, "turned")
    user = next(user for user in sorted(checkpoint.memories) if texts.mask[user])
    assert np.abs(scores(found, user) - scores(recommender, user)).max() > 1e-6


def test_a_response_has_titles_and_its_origin(recommender):
    response = recommender.recommend("3", 2).response("3")
    assert (response.user_id, response.model_version, response.strategy) == ("3", "test", "model")
    assert [item.title for item in response.items] == [item.item_id for item in response.items]


def test_another_round_and_name_may_be_asked_for(run):
    last = Recommender.load(run.directory.path, round=run.record.last, version="job-7")
    assert (last.round, last.model_version) == (run.record.last, "job-7")
    assert last.recommend("3").model_version == "job-7"


def test_a_model_of_another_version_is_refused_in_a_sentence(snapshot, checkpoint):
    averaged = {name: values for name, values in checkpoint.server.averaged.items() if "preference_value" not in name}
    before = replace(checkpoint, server=replace(checkpoint.server, averaged=averaged))
    with pytest.raises(CheckpointError, match=r"another version .*preference_value.weight\): train it anew"):
        Recommender.of(snapshot, before, "before")


def test_a_place_without_a_run_is_one_error(tmp_path):
    with pytest.raises(CheckpointError, match="no run here"):
        Recommender.load(tmp_path)
