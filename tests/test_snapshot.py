import pytest

from fedmem.checkpoint import RunDirectory
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Item
from fedmem.errors import ConfigError, DataError
from fedmem.experiment import TrainingRun
from fedmem.snapshot import take_snapshot
from tests.tiny import tiny_config, tiny_dataset

OFF = {"text": "off", "image": "off"}


def test_features_off_are_off():
    snapshot = take_snapshot(tiny_config(features=OFF), tiny_dataset())
    assert not snapshot.features.vectors
    assert snapshot.user_features.preference is None
    assert snapshot.provenance["text"] == snapshot.provenance["image"] == "off"


def test_cold_users_are_drawn_from_the_seed_and_never_train():
    def cold(seed: int) -> list[int]:
        config = tiny_config(seed=seed, features=OFF, data={"cold_user_fraction": 0.25})
        dataset = take_snapshot(config, tiny_dataset(20)).dataset
        assert not set(dataset.cold_users) & set(dataset.trainable_users)
        return dataset.cold_users.tolist()

    assert len(cold(1)) == 5
    assert cold(1) == cold(1) != cold(2)


def test_preference_texts_are_not_written_where_no_memory_is_read():
    dataset = tiny_dataset()
    assert all(isinstance(item, Item) for item in dataset.items)
    snapshot = take_snapshot(tiny_config(features=OFF, ablation={"disable_memory": True}), dataset)
    assert snapshot.provenance["preference_text"] == "off"


@pytest.mark.parametrize(("experts", "note"), [(False, "off"), (True, "auto: no item has an image, not used")])
def test_images_are_looked_at_where_experts_read_them(experts, note):
    config = tiny_config(features={"text": "off", "image": "auto"}, ablation={"disable_moe": not experts})
    assert take_snapshot(config, tiny_dataset()).provenance["image"] == note


def test_a_cold_fraction_that_leaves_no_user_is_refused_by_its_name():
    config = tiny_config(data={"cold_user_fraction": 0.97}, features=OFF)
    with pytest.raises(
        ConfigError, match=r"data.cold_user_fraction = 0.97 keeps all of the 12 users .* out of training"
    ):
        take_snapshot(config, tiny_dataset(12))


def test_a_history_beyond_the_bound_is_named_with_what_is_done(caplog):
    dataset = FederatedDataset.from_sequences([[1, 2, 3] * 9, [2, 3, 4] * 5, [1, 2, 3, 4, 5]], 9, name="bots")
    snapshot = take_snapshot(tiny_config(data={"max_history": 7}, features=OFF), dataset)
    assert "a user has 27 interactions (and 1 users more): a client trains on the newest data.max_history = 7" in (
        caplog.text
    )
    assert [len(snapshot.dataset.client(user).history) for user in range(3)] == [7, 7, 3]
    caplog.clear()
    take_snapshot(tiny_config(data={"max_history": 25}, features=OFF), dataset)
    assert "max_history" not in caplog.text


@pytest.mark.parametrize(
    ("repeats", "said"),
    [("hide", "count as misses: set data.repeats=offer"), ("offer", "ranked and offered (data.repeats=offer)")],
)
def test_the_share_of_repeated_targets_is_said_and_kept(tmp_path, caplog, repeats, said):
    caplog.set_level("INFO")
    dataset = FederatedDataset.from_sequences([[1, 2, 3, 1, 4], [1, 2, 3, 4, 4], [5, 6, 7, 8, 9]], 9, name="plays")
    config = tiny_config(data={"repeats": repeats}, features=OFF)
    snapshot = take_snapshot(config, dataset)
    assert "33.3% of the validation targets and 33.3% of the test targets" in caplog.text
    assert said in caplog.text
    run = TrainingRun.start(tmp_path / "run", snapshot)
    run.close()
    directory = RunDirectory(tmp_path / "run")
    assert directory.read_manifest()["dataset"]["repeated_targets"] == {"validation": 1 / 3, "test": 1 / 3}
    assert directory.read_snapshot().dataset.repeats == repeats
    caplog.clear()
    take_snapshot(config, FederatedDataset.from_sequences([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]], 9))
    assert "targets" not in caplog.text


@pytest.mark.parametrize(("users", "said"), [(99, True), (101, False)])
def test_a_repeat_in_a_hundred_is_worth_a_word_and_fewer_are_not(caplog, users, said):
    repeated, others = [1, 2, 3, 4, 1], [[1, 2, 3, 4, 5]] * (users - 1)
    take_snapshot(tiny_config(features=OFF), FederatedDataset.from_sequences([repeated, *others], 9))
    assert ("items that their users took before" in caplog.text) == said


def test_one_user_is_refused_before_anything_is_trained():
    with pytest.raises(DataError, match="needs at least two clients"):
        take_snapshot(tiny_config(features=OFF), tiny_dataset(1))
