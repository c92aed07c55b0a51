import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from huggingface_hub import constants
from PIL import Image

from fedmem.config import FeaturesConfig, Policy
from fedmem.data.interactions import Item
from fedmem.errors import FeatureError
from fedmem.features.build import Encoding, build_item_features, build_user_features
from fedmem.features.store import ItemFeatures
from fedmem.features.text import TextEncoder
from fedmem.modality import Modality

ITEMS = (
    Item("a", "Alien", ("Horror", "Sci-Fi"), 1979, text="Alien (1979). Horror, Sci-Fi"),
    Item("b", "Aliens", ("Action", "Sci-Fi"), 1986, text="Aliens (1986). Action, Sci-Fi"),
    Item("c"),
    Item("d", "Emma", ("Romance",), 1996, text="Emma (1996). Romance"),
)
NO_TEXTS = tuple(Item(item.item_id) for item in ITEMS)


def _build(
    items: tuple[Item, ...],
    text: Policy,
    image: Policy,
    text_model_name: str = "all-MiniLM-L6-v2",
    image_model_name: str = "descriptor",
) -> tuple[ItemFeatures, dict[str, str]]:
    config = FeaturesConfig(text=text, image=image, image_model_name=image_model_name)
    return build_item_features(items, Encoding(config, text_model_name))


@pytest.fixture
def with_images(tmp_path: Path) -> tuple[Item, ...]:
    (tmp_path / "b.png").write_bytes(b"this is no image")
    for name, colour in (("a", "red"), ("d", "blue")):
        Image.new("RGB", (30, 30), colour).save(tmp_path / f"{name}.png")
    return tuple(Item(n, image_path=tmp_path / f"{n}.png" if n != "c" else None) for n in "abcd")


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_texts_are_encoded_where_they_are(real_encoder: TextEncoder) -> None:
    features, notes = _build(ITEMS, "required", "off")
    (texts,) = features.vectors.values()
    assert texts.rows.shape == (5, 384)
    assert texts.mask.tolist() == [False, True, True, False, True]
    assert not texts.rows[[0, 3]].any()
    assert np.square(texts.rows).sum() == pytest.approx(3 * 384, rel=1e-4)
    raw = real_encoder.encode([ITEMS[3].text])
    assert texts.transform(raw)[0].tobytes() == texts.rows[4].tobytes()
    assert notes == {"text": f"{real_encoder.identity}, 3 of 4 items", "image": "off"}
    assert list(features.vectors) == [Modality.TEXT]


def test_off_touches_nothing() -> None:
    features, notes = _build(ITEMS, "off", "off", "./no-model", "./no-file.npz")
    assert not features.vectors
    assert notes == {"text": "off", "image": "off"}


def test_auto_does_without_what_no_item_has() -> None:
    features, notes = _build(NO_TEXTS, "auto", "auto", "./no-model", "./no-model")
    assert not features.vectors
    assert notes == {"text": "auto: no item has a text, not used", "image": "auto: no item has an image, not used"}


@pytest.mark.parametrize(("text", "image", "remedy"), [("required", "off", "--items"), ("off", "required", "--images")])
def test_required_says_how_to_get_it_or_do_without(text: Policy, image: Policy, remedy: str) -> None:
    off = "text=off" if text == "required" else "image=off"
    with pytest.raises(FeatureError, match=rf"is required, but no item has .*{remedy}.*--set features\.{off}"):
        _build(NO_TEXTS, text, image)


def test_an_encoder_that_cannot_be_had(no_hub: None, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(FeatureError, match=r"no/such-model.*features\.text=off"):
        _build(ITEMS, "required", "off", "no/such-model")
    features, notes = _build(ITEMS, "auto", "off", "no/such-model")
    assert not features.vectors
    assert notes["text"].startswith("auto: not used, no/such-model is not on this machine")
    assert [record.levelno for record in caplog.records if record.name == "fedmem.features.build"] == [logging.WARNING]


def test_a_broken_image_is_left_out_or_an_error(with_images: tuple[Item, ...]) -> None:
    features, notes = _build(with_images, "off", "auto")
    assert features.vectors[Modality.VISUAL].mask.tolist() == [False, True, False, False, True]
    assert notes["image"].startswith("descriptor (scikit-image")
    assert notes["image"].endswith("2 of 4 items")
    with pytest.raises(FeatureError, match=r"b\.png cannot be read as an image"):
        _build(with_images, "off", "required")


def test_clip_by_path(with_images: tuple[Item, ...], tiny_clip: Path) -> None:
    features, notes = _build(with_images, "off", "auto", image_model_name=str(tiny_clip))
    assert features.vectors[Modality.VISUAL].rows.shape == (5, 8)
    assert notes["image"].startswith("tiny-clip sha256:")


def test_precomputed_vectors_go_by_item_id(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "vectors.npz"
    np.savez(path, item_ids=np.array(["d", "a", "not-sold-here"]), vectors=np.eye(3, 2))
    features, notes = _build(ITEMS, "off", "required", image_model_name=str(path))
    assert features.vectors[Modality.VISUAL].mask.tolist() == [False, True, False, False, True]
    assert notes["image"].startswith("vectors.npz sha256:")
    assert "1 of 3 ids are not in the catalogue" in caplog.text
    for unusable in (_build_file(tmp_path, ["x"], [[1.0, 2.0]]), _build_file(tmp_path, ["a"], [[np.nan, 2.0]])):
        with pytest.raises(FeatureError, match=r"other\d\.npz"):
            _build(ITEMS, "off", "auto", image_model_name=unusable)


def _build_file(folder: Path, ids: list[str], vectors: list[list[float]]) -> str:
    path = folder / f"other{len(list(folder.iterdir()))}.npz"
    np.savez(path, item_ids=np.array(ids), vectors=np.array(vectors))
    return str(path)


def test_progress_names_the_stage(real_encoder: TextEncoder) -> None:
    calls: list[tuple[str, int, int]] = []
    build_item_features(
        ITEMS,
        Encoding(
            FeaturesConfig(image="off"),
            real_encoder.model_name,
            progress=lambda stage, done, total: calls.append((stage, done, total)),
        ),
    )
    assert calls[-1] == ("item texts", 3, 3)


def _by(text_model_name: str) -> Encoding:
    return Encoding(FeaturesConfig(), text_model_name)


@dataclass
class _Histories:
    items: tuple[Item, ...]
    histories: list[list[int]]

    @property
    def num_users(self) -> int:
        return len(self.histories)

    def training_history(self, user: int, /) -> npt.NDArray[np.int32]:
        return np.array(self.histories[user], dtype=np.int32)


def test_preference_texts_come_from_the_first_half_only(real_encoder: TextEncoder) -> None:
    item_features, _ = _build(ITEMS, "required", "off")
    seen: list[list[str]] = []

    def writer(history: object) -> str:
        assert isinstance(history, list)
        seen.append([item.item_id for item in history])
        return "Horror." if history else ""

    dataset = _Histories(ITEMS, [[1, 2, 4, 3], [], [2, 1, 4], [1]])
    features, note = build_user_features(dataset, item_features, _by(real_encoder.model_name), "required", writer)
    assert seen == [["a", "b"], [], ["b"], []]
    assert features.mask.tolist() == [True, False, True, False]
    assert features.preference is not None
    assert not features.preference[[1, 3]].any()
    expected = item_features.vectors[Modality.TEXT].transform(real_encoder.encode(["Horror."]))[0]
    assert features.preference[0].tobytes() == features.preference[2].tobytes() == expected.tobytes()
    assert note == f"{real_encoder.identity}, 2 of 4 users"


def test_what_comes_later_changes_no_preference(real_encoder: TextEncoder) -> None:
    item_features, _ = _build(ITEMS, "required", "off")
    results = [
        build_user_features(_Histories(ITEMS, [history]), item_features, _by(real_encoder.model_name), "auto")[
            0
        ].preference
        for history in ([1, 2, 4, 4], [1, 2, 3, 1], [4, 2, 3, 1])
    ]
    first, second, third = results
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.tobytes() == second.tobytes() != third.tobytes()


def test_preference_texts_need_item_texts() -> None:
    dataset = _Histories(ITEMS, [[1, 2]])
    nothing = ItemFeatures(4)
    for policy, note in (("off", "off"), ("auto", "auto: preference texts need item texts, not used")):
        features, found = build_user_features(dataset, nothing, _by("./no-model"), policy)  # type: ignore[arg-type]
        assert features.preference is None
        assert found == note
    with pytest.raises(FeatureError, match=r"need item texts.*features\.preference_text=off"):
        build_user_features(dataset, nothing, _by("./no-model"), "required")


def test_users_without_words(real_encoder: TextEncoder) -> None:
    item_features, _ = _build(ITEMS, "required", "off")
    features, note = build_user_features(
        _Histories(ITEMS, [[3, 3, 3]]), item_features, _by(real_encoder.model_name), "auto"
    )
    assert features.mask.tolist() == [False]
    assert note == "auto: no user has a preference text, not used"
