"""A run on newer data goes on from an older one: what goes over, what begins anew; each interaction counts once."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmem.checkpoint import RunDirectory, Snapshot
from fedmem.config import TransitionsConfig
from fedmem.continuation import CarriedState, carried_over
from fedmem.continuation.parameters import CarriedParameters
from fedmem.continuation.renumbering import Renumbering
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Interactions
from fedmem.experiment import TrainingRun
from fedmem.features.store import FrozenVectors, ItemFeatures, UserFeatures
from fedmem.federated.messages import ITEM_ROWS
from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.federated.start import build_model
from fedmem.memory.count_sketch import sketched
from fedmem.memory.transitions import TransitionCounts
from fedmem.modality import Modality
from fedmem.serving import Recommender
from fedmem.serving.new_items import PlacedTexts, with_rows
from fedmem.snapshot import take_snapshot
from tests.memory.test_transitions import same
from tests.tiny import files_of, tiny_config, trained, walks

Histories = dict[str, list[str]]
CONFIG = tiny_config(federated={"num_rounds": 4, "client_fraction": 1.0})
LONGER = tiny_config(federated={"num_rounds": 8, "client_fraction": 1.0})


def histories(num_users: int = 10) -> Histories:
    return {f"u{user}": [f"i{item:02}" for item in walk] for user, walk in enumerate(walks(num_users, 20, shortest=8))}


def later(before: Histories) -> Histories:
    """What became of the users: most go on, u1 left, u2 had something inserted, new users and items came."""
    after = {user: [*items, "a-new", items[0]] for user, items in before.items() if user != "u1"}
    after["u2"] = ["i07", *before["u2"]]
    after["u3"] = before["u3"]
    return after | {"a-new-user": ["i01", "a-new", "i03", "i04", "i05", "z-new"]}


def dataset_of(histories: Histories) -> FederatedDataset:
    rows = [(user, item, place) for user, items in histories.items() for place, item in enumerate(items)]
    users, items, times = zip(*rows, strict=True)
    columns = np.array(users, object), np.array(items, object), np.array(times, np.int64)
    return FederatedDataset.from_interactions(Interactions(*columns))


def raw(item_id: str, dim: int) -> np.ndarray:
    return np.random.default_rng(list(item_id.encode())).standard_normal(dim).astype(np.float32)


def features_of(dataset: FederatedDataset, without: tuple[str, ...], like: ItemFeatures | None) -> ItemFeatures:
    found = {}
    for modality, dim, lacking in ((Modality.TEXT, 7, without), (Modality.VISUAL, 5, ("i02", "a-new"))):
        drawn = [None if item in lacking else raw(item, dim) for item in dataset.vocabulary.items]
        fitted = FrozenVectors.fitted(drawn)
        found[modality] = fitted if like is None else like.vectors[modality].transformed([None, *drawn])
    return ItemFeatures(dataset.num_items, found)


def snapshot_of(dataset: FederatedDataset, like: Snapshot | None = None, without: tuple[str, ...] = ()) -> Snapshot:
    features = features_of(dataset, without, None if like is None else like.features)
    config = CONFIG if like is None else LONGER
    return Snapshot(config, dataset.configured(config.data), features, UserFeatures.empty(dataset.num_users))


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> TrainingRun:
    return trained(tmp_path_factory.mktemp("older") / "run", snapshot_of(dataset_of(histories())))


@pytest.fixture(scope="module")
def newer(before) -> Snapshot:
    return snapshot_of(dataset_of(later(histories())), before.snapshot)


def carried(before: TrainingRun, newer: Snapshot, round: int = 4, gone: tuple[str, ...] = ()) -> CarriedState:
    return carried_over(before.directory, round, newer, gone)


def started(path: Path, before: TrainingRun, newer: Snapshot, round: int = 4) -> TrainingRun:
    run = TrainingRun.start(path, newer)
    run.take_up(carried(before, newer, round))
    return run


def test_nothing_changes_where_no_data_came(before, tmp_path):
    same_data = replace(before.snapshot, config=LONGER)
    found, old = carried(before, same_data), before.directory.checkpoints.read(4)
    for arrays in ("parameters", "averaged"):
        for name, values in getattr(old.server, arrays).items():
            np.testing.assert_array_equal(getattr(found.state, arrays)[name], values, err_msg=name)
    for moments in ("first", "second"):
        for name, values in getattr(old.server.optimizer, moments).items():
            np.testing.assert_array_equal(getattr(found.state.optimizer, moments)[name], values, err_msg=name)
    assert same(found.state.transitions, old.server.transitions)
    np.testing.assert_array_equal(found.handed_on, old.handed_on)
    memories = {user: entries for some in found.memories for user, entries in some.items()}
    assert memories.keys() == {user for user, entries in old.memories.items() if len(entries)}
    assert all(np.array_equal(memories[user].items, old.memories[user].items) for user in memories)


def test_rows_go_with_their_items(before, newer):
    found, old = carried(before, newer).state, before.directory.checkpoints.read_server(4)
    for item_id in before.snapshot.dataset.vocabulary.items:
        then, now = (s.dataset.vocabulary.item_index(item_id) for s in (before.snapshot, newer))
        for was, arrays in (
            (old.parameters, found.parameters),
            (old.averaged, found.averaged),
            (old.optimizer.first, found.optimizer.first),
            (old.optimizer.second, found.optimizer.second),
        ):
            np.testing.assert_array_equal(arrays[ITEM_ROWS][now], was[ITEM_ROWS][then])


def test_a_new_item_begins_as_it_is_served(before, newer):
    model = Recommender.load(before.directory.path, 4)
    new, place = newer.dataset.vocabulary.item_index("z-new"), before.snapshot.dataset.num_items + 1
    text = newer.features.vectors[Modality.TEXT].rows[new]
    placed = PlacedTexts({place: text}, {place: True})
    served = with_rows(model.scorer.table, model.trained.model, placed, place).embedding[place]
    found = carried(before, newer).state.averaged
    begun = build_model(newer.config, newer.dataset.num_items, newer.features, found).item_table().embedding[new]
    np.testing.assert_allclose(begun.detach().numpy(), served.numpy(), atol=1e-6)


def test_a_new_item_without_a_text_begins_as_in_a_new_training(before):
    newer = snapshot_of(dataset_of(later(histories())), before.snapshot, without=("a-new",))
    found, fresh = carried(before, newer).state, build_model(newer.config, newer.dataset.num_items, newer.features)
    index = newer.dataset.vocabulary.item_index("a-new")
    drawn = fresh.sasrec.item_embedding[index].detach().numpy()
    np.testing.assert_array_equal(found.parameters[ITEM_ROWS][index], drawn)


def test_scores_of_old_items_stay_where_items_come_with_other_modalities(before):
    """The bias of a pattern of modalities is a difference to that of the first pattern, which may be another now."""
    newer = snapshot_of(dataset_of(later(histories())), before.snapshot, without=("a-new",))  # neither text nor image
    state = before.directory.checkpoints.read_server(4)
    noise = np.random.default_rng(0)
    noisy = {name: (v + noise.standard_normal(v.shape)).astype(v.dtype) for name, v in state.averaged.items()}
    renumbering = Renumbering.of(before.snapshot.dataset, newer.dataset)
    moved = CarriedParameters(newer.config, before.snapshot.features, newer.features, renumbering).weights(noisy)
    old_model = build_model(CONFIG, before.snapshot.dataset.num_items, before.snapshot.features, noisy)
    new_model = build_model(newer.config, newer.dataset.num_items, newer.features, moved)
    assert new_model.retriever.availability.out_features == old_model.retriever.availability.out_features + 1
    history = before.snapshot.dataset.history(0)[:5]
    then = ModelScorer(old_model, None).score([UserContext()], [history])[0]
    now = ModelScorer(new_model, None).score([UserContext()], [renumbering.items[history].astype(np.int32)])[0]
    differences = then[1:] - now[renumbering.items[1:]]
    np.testing.assert_allclose(differences, differences[0], atol=1e-4)


def test_every_interaction_is_handed_on_once(before, newer, tmp_path):
    run = started(tmp_path / "run", before, newer)
    begun = carried(before, newer)
    users = {user_id: index for index, user_id in enumerate(newer.dataset.vocabulary.users)}
    assert begun.handed_on[users["u0"]] == len(histories()["u0"]) - 2
    assert not begun.handed_on[[users["u2"], users["a-new-user"]]].any(), "what was changed is handed on anew"
    for _ in run.rounds():
        pass
    dataset, window = newer.dataset, newer.config.transitions.window
    anew = [dataset.training_history(user) for user in dataset.trainable_users.tolist()]
    assert same(run.server.state.transitions, TransitionCounts.of(anew, dataset.num_items, window))


def test_cells_of_a_sketch_are_those_of_the_items_as_they_are_numbered_now(before, newer, tmp_path):
    transitions = TransitionsConfig(sketch_bits=6)

    def with_sketch(snapshot: Snapshot) -> Snapshot:
        return replace(snapshot, config=snapshot.config.model_copy(update={"transitions": transitions}))

    older, after = trained(tmp_path / "a", with_sketch(before.snapshot)), with_sketch(newer)
    exact, found = carried(before, newer), carried(older, after)
    np.testing.assert_array_equal(found.handed_on, exact.handed_on)
    assert found.handed_on.any()
    assert same(found.state.transitions, sketched(exact.state.transitions, transitions))
    run = started(tmp_path / "b", older, after)
    assert list(run.rounds())
    anew = [after.dataset.training_history(user) for user in after.dataset.trainable_users.tolist()]
    expected = TransitionCounts.of(anew, after.dataset.num_items, transitions.window)
    assert same(run.server.state.transitions, sketched(expected, transitions))


def test_a_bounded_history_that_moved_on_is_handed_on_anew(tmp_path):
    """The newest six interactions of a user are others now, and the older ones are no part of the sum any more."""
    bounded = [
        tiny_config(data={"max_history": 6}, federated={"num_rounds": n, "client_fraction": 1.0}) for n in (2, 4)
    ]
    first, second = (dataset_of(data).configured(bounded[0].data) for data in (histories(), later(histories())))
    features = features_of(first, (), None)
    before = trained(tmp_path / "a", Snapshot(bounded[0], first, features, UserFeatures.empty(first.num_users)))
    features = features_of(second, (), features)
    run = started(
        tmp_path / "b", before, Snapshot(bounded[1], second, features, UserFeatures.empty(second.num_users)), 2
    )
    for _ in run.rounds():
        pass
    now = [second.training_history(user) for user in second.trainable_users.tolist()]
    assert same(run.server.state.transitions, TransitionCounts.of(now, second.num_items, 10))


def test_memories_are_carried_over_and_those_of_who_left_are_not(before, newer):
    found = {user: entries for some in carried(before, newer).memories for user, entries in some.items()}
    old = before.directory.checkpoints.read(4).memories
    of = {name: s.dataset.vocabulary for name, s in (("old", before.snapshot), ("new", newer))}
    items = {
        user_id: [of["new"].item_id(i) for i in found[index].items.tolist()]
        for index, user_id in enumerate(of["new"].users)
        if index in found
    }
    then = {of["old"].user_id(u): [of["old"].item_id(i) for i in e.items.tolist()] for u, e in old.items()}
    assert "u1" in then
    assert "u1" not in items
    assert items["u0"] == then["u0"]
    u2 = of["new"].find_user("u2")
    history = newer.dataset.training_history(u2)
    assert sorted(items["u2"]) == sorted(set(then["u2"])), "found again in what the history is now"
    np.testing.assert_array_equal(history[found[u2].index], found[u2].items)
    assert (np.diff(found[u2].index) >= 0).all()


def test_who_was_deleted_is_another_where_the_id_comes_again(before, newer):
    again = snapshot_of(dataset_of(later(histories()) | {"u1": histories()["u1"]}), before.snapshot)
    u1 = again.dataset.vocabulary.user_index("u1")
    kept = carried(before, again)
    gone = carried(before, again, gone=("u1",))
    assert kept.handed_on[u1]
    assert not gone.handed_on[u1]
    assert u1 not in {user for some in gone.memories for user in some}
    assert same(gone.state.transitions, carried(before, newer).state.transitions)


def test_a_damaged_transition_memory_is_handed_on_anew(before, newer, tmp_path):
    shutil.copytree(before.directory.path, tmp_path / "run")
    next((tmp_path / "run" / "rounds").glob("*4/transitions.safetensors")).unlink()
    found = carried_over(RunDirectory(tmp_path / "run"), 4, newer)
    assert not found.state.transitions
    assert not found.handed_on.any()


def test_the_old_model_can_stay_the_best(before, newer, tmp_path):
    run = started(tmp_path / "run", before, newer)
    reports = list(run.rounds())
    assert [report.round for report in reports] == [4, 5, 6, 7, 8]
    assert reports[0].is_best
    assert reports[0].validation is not None
    validated = {report.round: report.validation.mean("NDCG@10") for report in reports if report.validation}
    best = max(sorted(validated), key=lambda number: validated[number])
    assert run.record.best == best
    assert run.finish().round == best


def test_the_first_validation_is_kept_where_no_round_follows(before, newer, tmp_path):
    done = replace(newer, config=CONFIG)
    run = started(tmp_path / "run", before, done)
    assert [report.round for report in run.rounds()] == [4]
    assert run.record.best == 4


@pytest.mark.parametrize("stopped_at", [4, 5, 6])
def test_a_resumed_continuation_writes_the_same_bytes(before, newer, tmp_path, stopped_at):
    whole = started(tmp_path / "whole", before, newer)
    for _ in whole.rounds():
        pass
    whole.finish()
    run = started(tmp_path / "parts", before, newer)
    for report in run.rounds():
        if report.round == stopped_at:
            break
    run.recorder.flush(run.server.state, run.population)
    again = TrainingRun.resume(tmp_path / "parts", newer.config)
    for _ in again.rounds():
        pass
    again.finish()
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "parts")


def test_cold_users_stay_cold_and_modalities_stay(before):
    cold = replace(before.snapshot, dataset=replace(before.snapshot.dataset, cold_users=np.array([0])))
    only_text = replace(cold, features=ItemFeatures(cold.features.num_items, {}))
    config = tiny_config(data={"cold_user_fraction": 0.5}, features={"text": "auto", "image": "auto"})
    taken = take_snapshot(config, dataset_of(later(histories())), like=only_text)
    assert [taken.dataset.vocabulary.user_id(user) for user in taken.dataset.cold_users] == ["u0"]
    assert not taken.features.vectors
