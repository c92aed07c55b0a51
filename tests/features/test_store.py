import numpy as np
import pytest
from safetensors.numpy import load, save

from fedmem.features.cache import FloatArray
from fedmem.features.store import ItemFeatures, Modality, UserFeatures


def _raw(count: int, dimension: int, seed: int = 0) -> list[FloatArray | None]:
    draws = np.random.default_rng(seed).normal(3.0, 0.2, (count, dimension)).astype(np.float32)
    return list(draws)


def test_present_rows_are_centred_and_scaled() -> None:
    raw = _raw(50, 6)
    raw[4] = raw[10] = None
    fitted = Modality.fitted(raw)
    assert fitted.rows.shape == (51, 6)
    assert fitted.rows.dtype == np.float32
    assert np.flatnonzero(~fitted.mask).tolist() == [0, 5, 11]
    assert not fitted.rows[~fitted.mask].any()
    present = fitted.rows[fitted.mask]
    np.testing.assert_allclose(present.mean(axis=0), 0, atol=1e-5)
    assert np.square(present).sum(axis=1).mean() == pytest.approx(6, rel=1e-5)


def test_missing_rows_do_not_move_the_mean() -> None:
    raw = _raw(20, 4)
    with_gaps = Modality.fitted([*raw, None, None])
    np.testing.assert_array_equal(with_gaps.rows[:21], Modality.fitted(raw).rows)


def test_one_vector_or_equal_ones_become_zero_not_nan() -> None:
    vector = np.ones(3, dtype=np.float32)
    for raw in ([vector], [vector, vector]):
        fitted = Modality.fitted(list(raw))
        assert not fitted.rows.any()
        assert fitted.scale == 1.0
        assert fitted.mask[1:].all()


def test_a_new_item_is_transformed_as_the_catalogue_was() -> None:
    raw = _raw(9, 5)
    features = ItemFeatures.from_modalities(9, Modality.fitted(raw), Modality.fitted(_raw(9, 3)))
    assert features.text is not None
    assert raw[2] is not None
    assert features.transform_text(raw[2]).tobytes() == features.text[3].tobytes()
    with pytest.raises(AssertionError, match="5 components"):
        features.transform_text(np.zeros(6, dtype=np.float32))


@pytest.mark.parametrize(("text", "image"), [(True, True), (True, False), (False, True), (False, False)])
def test_through_a_checkpoint_and_back(text: bool, image: bool) -> None:
    raw = _raw(7, 5)
    raw[0] = None
    features = ItemFeatures.from_modalities(
        7, Modality.fitted(raw) if text else None, Modality.fitted(_raw(7, 3)) if image else None
    )
    back = ItemFeatures.from_arrays(load(save(features.to_arrays())))
    for name in ("text", "text_mask", "image", "image_mask", "text_mean", "image_mean"):
        before, after = getattr(features, name), getattr(back, name)
        assert (before is None) == (after is None)
        if before is not None:
            assert before.dtype == after.dtype
            assert before.tobytes() == after.tobytes()
    assert (back.text_scale, back.image_scale) == (features.text_scale, features.image_scale)


def test_no_features_at_all() -> None:
    features = ItemFeatures.empty(4)
    assert features.text is None
    assert features.image is None
    assert features.text_mask.tolist() == features.image_mask.tolist() == [False] * 5
    with pytest.raises(AssertionError, match="not used"):
        features.transform_text(np.zeros(3, dtype=np.float32))


def test_user_features_through_a_checkpoint() -> None:
    features = UserFeatures(np.eye(2, dtype=np.float32), np.array([True, False]))
    back = UserFeatures.from_arrays(load(save(features.to_arrays())))
    assert back.preference is not None
    np.testing.assert_array_equal(back.preference, np.eye(2))
    assert back.mask.tolist() == [True, False]
    assert UserFeatures.from_arrays(UserFeatures.empty(3).to_arrays()).preference is None
