import io
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image

from fedmem.errors import FeatureError
from fedmem.features import image as image_module
from fedmem.features.image import ImageEncoder
from fedmem.features.image_descriptor import DESCRIPTOR_DIM, describe_image
from fedmem.features.text import TextEncoder


def _picture(path: Path, seed: int, mode: str = "RGB", size: tuple[int, int] = (40, 60)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return [
        _picture(tmp_path / "a.png", 1),
        _picture(tmp_path / "b.jpg", 2, size=(90, 30)),
        _picture(tmp_path / "c.png", 3, mode="L"),
    ]


@pytest.fixture
def broken(tmp_path: Path) -> list[Path]:
    buffer = io.BytesIO()
    Image.new("RGB", (200, 200), "red").save(buffer, "PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:150])
    (tmp_path / "noise.jpg").write_bytes(np.random.default_rng(0).bytes(500))
    (tmp_path / "empty.jpg").write_bytes(b"")
    return [tmp_path / "cut.png", tmp_path / "noise.jpg", tmp_path / "empty.jpg", tmp_path / "not-there.jpg"]


def test_the_descriptor_tells_colours_and_shapes_apart() -> None:
    red, also_red, blue = (describe_image(Image.new("RGB", (50, 80), c)) for c in ("red", "#f00808", "blue"))
    assert red.shape == (DESCRIPTOR_DIM,)
    assert red @ also_red > 0.9
    assert red @ blue < 0.1
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[::8] = stripes[1::8] = 255
    across, along = describe_image(Image.fromarray(stripes)), describe_image(Image.fromarray(stripes.swapaxes(0, 1)))
    np.testing.assert_allclose(across[:128], along[:128], atol=1e-6)
    assert across[128:] @ along[128:] < 0.5
    np.testing.assert_allclose([np.linalg.norm(part) for part in (across[:128], across[128:])], 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["descriptor", "clip"])
def test_images_are_encoded_once_by_content(kind: str, pictures: list[Path], tiny_clip: Path, tmp_path: Path) -> None:
    name, dimension = ("descriptor", DESCRIPTOR_DIM) if kind == "descriptor" else (str(tiny_clip), 8)
    vectors, mask = ImageEncoder(name, tmp_path).encode(pictures, skip_broken=False)
    assert vectors.shape == (3, dimension)
    assert vectors.dtype == np.float32
    assert mask.all()
    assert len(np.unique(vectors, axis=0)) == 3
    copy = tmp_path / "copy.png"
    copy.write_bytes(pictures[0].read_bytes())
    with patch.object(image_module, "_open_image", side_effect=AssertionError("decoded")):
        again, _ = ImageEncoder(name, tmp_path).encode([pictures[1], copy], skip_broken=False)
    assert again.tobytes() == vectors[[1, 0]].tobytes()


def test_another_encoder_has_another_cache(pictures: list[Path], tiny_clip: Path, tmp_path: Path) -> None:
    first, _ = ImageEncoder(str(tiny_clip), tmp_path).encode(pictures, skip_broken=False)
    second, _ = ImageEncoder("descriptor", tmp_path).encode(pictures, skip_broken=False)
    assert first.shape[1] != second.shape[1]


def test_a_vector_does_not_depend_on_the_others(pictures: list[Path], tiny_clip: Path, tmp_path: Path) -> None:
    together, _ = ImageEncoder(str(tiny_clip), tmp_path / "1").encode(pictures, skip_broken=False)
    alone, _ = ImageEncoder(str(tiny_clip), tmp_path / "2").encode(pictures[1:2], skip_broken=False)
    assert alone[0].tobytes() == together[1].tobytes()


def test_clip_vectors_agree_with_a_plain_call_of_the_library(
    pictures: list[Path], tiny_clip: Path, tmp_path: Path
) -> None:
    encoder = ImageEncoder(str(tiny_clip), tmp_path)
    vectors, _ = encoder.encode(pictures, skip_broken=False)
    images = [Image.open(path).convert("RGB") for path in pictures]
    np.testing.assert_allclose(vectors, encoder._model.encode(images, show_progress_bar=False), atol=1e-5)


@pytest.mark.parametrize("which", range(4))
def test_a_broken_file_is_an_error_that_names_it(broken: list[Path], which: int, tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=broken[which].name):
        ImageEncoder("descriptor", tmp_path / "cache").encode([broken[which]], skip_broken=False)


def test_broken_files_are_left_out_and_counted(
    pictures: list[Path], broken: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vectors, mask = ImageEncoder("descriptor", tmp_path / "cache").encode([*broken, pictures[0]], skip_broken=True)
    assert mask.tolist() == [False] * 4 + [True]
    assert not vectors[:4].any()
    assert vectors[4].any()
    assert "4 of 5 image files cannot be read" in caplog.text


def test_a_model_that_reads_no_images(real_encoder: TextEncoder, pictures: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="does not read images"):
        ImageEncoder(real_encoder.model_name, tmp_path).encode(pictures, skip_broken=True)


def test_clip_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, pictures: list[Path], tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FeatureError, match=r"clip-ViT-B-32 is not on this machine.*`descriptor`.*features\.image=off"):
        ImageEncoder(cache_dir=tmp_path).encode(pictures, skip_broken=False)


def test_real_posters(shared_data: Path, tmp_path: Path) -> None:
    posters = sorted((shared_data / "posters").rglob("*.jpg"))[:24]
    if not posters:
        pytest.skip("no posters among the real data")
    vectors, mask = ImageEncoder("descriptor", tmp_path).encode(posters, skip_broken=False)
    assert mask.all()
    assert len(np.unique(vectors, axis=0)) == 24
