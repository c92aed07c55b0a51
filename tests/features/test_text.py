from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from fedmem.features import text as text_module
from fedmem.features.inference import BATCH_SIZE, encode_batch
from fedmem.features.text import TextEncoder
from fedmem.interruption import heeding

SPACE = "Star Wars (1977). Action, Adventure, Sci-Fi"
SPACE_TOO = "Star Trek: First Contact (1996). Action, Adventure, Sci-Fi"
ROMANCE = "Sleepless in Seattle (1993). Comedy, Romance"


def test_two_space_films_are_closer_than_a_space_film_and_a_romance(real_encoder: TextEncoder) -> None:
    vectors = real_encoder.encode([SPACE, SPACE_TOO, ROMANCE])
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    similar = vectors @ vectors.T
    assert similar[0, 1] > similar[0, 2] + 0.1
    assert similar[0, 1] > similar[1, 2] + 0.1


def test_a_vector_is_the_same_to_the_bit_whatever_is_encoded_beside_it(
    real_encoder: TextEncoder, tmp_path: Path
) -> None:
    texts = [f"{SPACE[: 3 + 2 * number]}. Comedy, Drama {number}" for number in range(3 * BATCH_SIZE)]
    texts.append("a plot " * 400)  # longer than the encoder reads
    fresh = TextEncoder(cache_dir=tmp_path / "fresh")
    fresh.__dict__["_model"] = real_encoder._model
    together = fresh.encode(texts)
    for number in (0, 1, 2, 5, 7, 11, len(texts) - 1):
        alone = TextEncoder(cache_dir=tmp_path / f"alone-{number}")
        alone.__dict__["_model"] = real_encoder._model
        assert alone.encode([texts[number]]).tobytes() == together[number].tobytes()


def test_vectors_agree_with_a_plain_call_of_the_library(real_encoder: TextEncoder) -> None:
    texts = [SPACE, ROMANCE, "Seven"]
    plain = real_encoder._model.encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(real_encoder.encode(texts), plain, atol=1e-6)


def test_what_is_cached_needs_no_model(real_encoder: TextEncoder, tmp_path: Path) -> None:
    first = TextEncoder(cache_dir=tmp_path)
    first.__dict__["_model"] = real_encoder._model
    vectors = first.encode([SPACE, ROMANCE])
    with patch.object(text_module, "load_model", side_effect=AssertionError("loaded")):
        again = TextEncoder(cache_dir=tmp_path)
        assert again.encode([ROMANCE, SPACE]).tobytes() == vectors[::-1].tobytes()
        assert again.identity == first.identity
        assert not again.is_loaded
    with patch.object(text_module, "load_model", return_value=real_encoder._model):
        again.encode([SPACE_TOO])
    assert again.is_loaded


def test_one_new_text_encodes_one_text(real_encoder: TextEncoder, tmp_path: Path) -> None:
    encoder = TextEncoder(cache_dir=tmp_path)
    encoder.__dict__["_model"] = real_encoder._model
    encoder.encode([SPACE, ROMANCE])
    with patch.object(text_module, "encode_batch", wraps=encode_batch) as encoded:
        encoder.encode([SPACE, SPACE_TOO, ROMANCE])
    assert [list(call.args[1]) for call in encoded.call_args_list] == [[SPACE_TOO]]


def test_what_is_not_kept_is_encoded_once_to_the_same_bits_and_not_written(
    real_encoder: TextEncoder, tmp_path: Path
) -> None:
    encoder = TextEncoder(cache_dir=tmp_path / "none")
    encoder.__dict__["_model"] = real_encoder._model
    with patch.object(text_module, "encode_batch", wraps=encode_batch) as encoded:
        vectors = encoder.encode_unkept([SPACE, ROMANCE, SPACE])
    assert sorted(text for call in encoded.call_args_list for text in call.args[1]) == [ROMANCE, SPACE]
    assert not (tmp_path / "none").exists()
    for text, vector in vectors.items():
        assert vector.tobytes() == real_encoder.encode([text])[0].tobytes()


def test_a_stop_is_heeded_between_two_batches_of_texts(real_encoder: TextEncoder, tmp_path: Path) -> None:
    encoder = TextEncoder(cache_dir=tmp_path)
    encoder.__dict__["_model"] = real_encoder._model
    texts = [f"a film {letter}" for letter in "abcdefghijklmnopq"]
    with patch.object(text_module, "encode_batch", wraps=encode_batch) as encoded:

        def stop_after_one() -> None:
            if encoded.call_count == 1:
                raise KeyboardInterrupt

        with heeding(stop_after_one), pytest.raises(KeyboardInterrupt):
            encoder.encode(texts)
    assert encoded.call_count == 1


def test_a_stop_is_heeded_between_two_texts_whose_lengths_are_found(real_encoder: TextEncoder, tmp_path: Path) -> None:
    """A large catalogue's take seconds."""
    encoder = TextEncoder(cache_dir=tmp_path)
    encoder.__dict__["_model"] = real_encoder._model
    with patch.object(text_module, "_token_count", return_value=5) as counted:

        def stop_after_two() -> None:
            if counted.call_count == 2:
                raise KeyboardInterrupt

        with heeding(stop_after_two), pytest.raises(KeyboardInterrupt):
            encoder.encode([SPACE, SPACE_TOO, ROMANCE])
    assert counted.call_count == 2


def test_progress_counts_to_the_end(real_encoder: TextEncoder, tmp_path: Path) -> None:
    encoder = TextEncoder(cache_dir=tmp_path)
    encoder.__dict__["_model"] = real_encoder._model
    calls: list[tuple[int, int]] = []
    encoder.encode([SPACE, ROMANCE, SPACE], lambda done, total: calls.append((done, total)))
    assert calls[0] == (0, 2)
    assert calls[-1] == (2, 2)


@pytest.mark.parametrize("empty", ["", "  \n"])
def test_an_empty_text_is_never_encoded(empty: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="mask it"):
        TextEncoder(cache_dir=tmp_path).encode(["a film", empty])


def test_any_local_model_will_do(tiny_clip: Path, tmp_path: Path) -> None:
    encoder = TextEncoder(str(tiny_clip), tmp_path)
    vectors = encoder.encode(["a cat", "a dog", "a dog that barks"])
    assert vectors.shape == (3, 8)
    assert encoder.identity.startswith("tiny-clip sha256:")


def test_another_model_has_another_cache(real_encoder: TextEncoder, tiny_clip: Path, feature_cache: Path) -> None:
    assert real_encoder.encode([ROMANCE]).shape == (1, 384)
    assert TextEncoder(str(tiny_clip), feature_cache).encode([ROMANCE]).shape == (1, 8)
