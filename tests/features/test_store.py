import numpy as np
import pytest
from safetensors.numpy import load, save

from fedmem.features.cache import FloatArray
from fedmem.features.store import FrozenVectors, ItemFeatures, UserFeatures
from fedmem.modality import Modality


def _raw(count: int, dimension: int, seed: int = 0) -> list[FloatArray | None]:
    draws = np.random.default_rng(seed).normal(3.0, 0.2, (count, dimension)).astype(np.float32)
    return list(draws)


def test_present_rows_are_centred_and_scaled() -> None:
    raw = _raw(50, 6)
    raw[4] = raw[10] = None
    fitted = FrozenVectors.fitted(raw)
    assert fitted.rows.shape == (51, 6)
    assert fitted.rows.dtype == np.float32
    assert np.flatnonzero(~fitted.mask).tolist() == [0, 5, 11]
    assert not fitted.rows[~fitted.mask].any()
    present = fitted.rows[fitted.mask]
    np.testing.assert_allclose(present.mean(axis=0), 0, atol=1e-5)
    assert np.square(present).sum(axis=1).mean() == pytest.approx(6, rel=1e-5)


def test_missing_rows_do_not_move_the_mean() -> None:
    raw = _raw(20, 4)
    with_gaps = FrozenVectors.fitted([*raw, None, None])
    np.testing.assert_array_equal(with_gaps.rows[:21], FrozenVectors.fitted(raw).rows)


def test_one_vector_or_equal_ones_become_zero_not_nan() -> None:
    vector = np.ones(3, dtype=np.float32)
    for raw in ([vector], [vector, vector]):
        fitted = FrozenVectors.fitted(list(raw))
        assert not fitted.rows.any()
        assert fitted.scale == 1.0
        assert fitted.mask[1:].all()


def test_a_new_item_is_transformed_as_the_catalogue_was() -> None:
    raw = _raw(9, 5)
    vectors = FrozenVectors.fitted(raw)
    assert raw[2] is not None
    assert vectors.transform(raw[2]).tobytes() == vectors.rows[3].tobytes()
    with pytest.raises(AssertionError, match="5 components"):
        vectors.transform(np.zeros(6, dtype=np.float32))


@pytest.mark.parametrize(("text", "image"), [(True, True), (True, False), (False, True), (False, False)])
def test_through_a_checkpoint_and_back(text: bool, image: bool) -> None:
    raw = _raw(7, 5)
    raw[0] = None
    vectors = {Modality.TEXT: FrozenVectors.fitted(raw)} if text else {}
    vectors |= {Modality.VISUAL: FrozenVectors.fitted(_raw(7, 3))} if image else {}
    arrays = ItemFeatures(7, vectors).to_arrays()
    assert {"text_mask", "image_mask"} <= arrays.keys()
    back = ItemFeatures.from_arrays(load(save(arrays)))
    assert (back.num_items, back.vectors.keys()) == (7, vectors.keys())
    for modality, before in vectors.items():
        after = back.vectors[modality]
        assert before.scale == after.scale
        for one, other in ((before.rows, after.rows), (before.mask, after.mask), (before.mean, after.mean)):
            assert one.dtype == other.dtype
            assert one.tobytes() == other.tobytes()


def test_no_features_at_all() -> None:
    arrays = ItemFeatures(4).to_arrays()
    assert {name: mask.tolist() for name, mask in arrays.items()} == dict.fromkeys(
        ("text_mask", "image_mask"), [False] * 5
    )
    assert ItemFeatures.from_arrays(arrays).vectors == {}


def test_a_checkpoint_from_before_a_modality_is_read() -> None:
    arrays = ItemFeatures(7, {Modality.TEXT: FrozenVectors.fitted(_raw(7, 5))}).to_arrays()
    del arrays["image_mask"]
    back = ItemFeatures.from_arrays(arrays)
    assert (back.num_items, list(back.vectors)) == (7, [Modality.TEXT])


def test_user_features_through_a_checkpoint() -> None:
    features = UserFeatures(np.eye(2, dtype=np.float32), np.array([True, False]))
    back = UserFeatures.from_arrays(load(save(features.to_arrays())))
    assert back.preference is not None
    np.testing.assert_array_equal(back.preference, np.eye(2))
    assert back.mask.tolist() == [True, False]
    assert UserFeatures.from_arrays(UserFeatures.empty(3).to_arrays()).preference is None
