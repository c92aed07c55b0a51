"""Image files to frozen vectors: CLIP by sentence-transformers, or a weight-free descriptor by name."""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from fedmem.errors import FeatureError
from fedmem.features import image_descriptor
from fedmem.features.cache import Batches, Cache, FloatArray, Progress, cached_rows, content_key
from fedmem.features.inference import batches, encode_batch, load_model
from fedmem.features.model_files import ModelFiles, find_model

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)


class ImageEncoder:
    """CLIP given by name or local path, or ``descriptor``; loaded only when an image is not in the cache.

    Raises FeatureError, at the first use, where the model cannot be had or does not read images.
    """

    def __init__(self, model_name: str = "clip-ViT-B-32", cache_dir: Path | str | None = None) -> None:
        self.model_name = model_name
        self._cache = Cache(cache_dir)

    @property
    def identity(self) -> str:
        """What the manifest calls the encoder; loads nothing."""
        return image_descriptor.descriptor_identity() if self._is_descriptor else self._files.identity

    def encode(
        self, paths: Sequence[Path], *, skip_broken: bool, progress: Progress | None = None
    ) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """Make vectors [n, D_v] and a mask [n] of the files that could be read; the others' rows are zero.

        A file that is missing or no image raises FeatureError, or is left out and counted with ``skip_broken``.
        """
        digests = [_file_digest(path, skip_broken) for path in paths]
        keys = [content_key("image", self._fingerprint, digest) for digest in digests]
        rows = cached_rows(self._cache, keys, lambda missing: self._compute(paths, missing, skip_broken), progress)
        mask = np.array([row is not None for row in rows], dtype=np.bool_)
        if not mask.all():
            logger.warning("%d of %d image files cannot be read and are left out", (~mask).sum(), len(paths))
        return _stack(rows), mask

    def _compute(self, paths: Sequence[Path], missing: list[int], skip_broken: bool) -> Batches:
        for batch in batches(missing):
            images = {position: _open_image(paths[position], skip_broken) for position in batch}
            readable = {position: image for position, image in images.items() if image is not None}
            if readable:
                yield list(readable), self._vectors(list(readable.values()))

    def _vectors(self, images: list[Image.Image]) -> FloatArray:
        if self._is_descriptor:
            return np.stack([image_descriptor.describe_image(image) for image in images])
        return encode_batch(self._model, images)

    @property
    def _fingerprint(self) -> str:
        return self.identity if self._is_descriptor else self._files.fingerprint

    @property
    def _is_descriptor(self) -> bool:
        return self.model_name == image_descriptor.NAME

    @cached_property
    def _files(self) -> ModelFiles:
        return find_model(self.model_name, "image")

    @cached_property
    def _model(self) -> "SentenceTransformer":
        model = load_model(self._files)
        if "image" not in model.modalities:
            raise FeatureError(
                f"{self.model_name} does not read images: name a CLIP model, a file of precomputed vectors or "
                "`descriptor` with --set features.image_model_name=.., or set features.image=off"
            )
        return model


def _file_digest(path: Path, skip_broken: bool) -> str:
    try:
        return content_key(path.read_bytes())
    except OSError as error:
        if skip_broken:
            return f"unreadable {path}"
        raise _broken(path, error) from error


def _open_image(path: Path, skip_broken: bool) -> Image.Image | None:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception as error:  # decoders of damaged files raise OSError, SyntaxError, struct.error and more
        if skip_broken:
            logger.info("%s cannot be read as an image: %s", path, error)
            return None
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> FeatureError:
    return FeatureError(
        f"{path} cannot be read as an image ({error}): replace or remove it, or set features.image=auto to leave out "
        "what is broken"
    )


def _stack(rows: Sequence[FloatArray | None]) -> FloatArray:
    """Stack to [n, D] with zeros for ``None``; D is 0 if every row is missing."""
    dimension = next((len(row) for row in rows if row is not None), 0)
    empty = np.zeros(dimension, dtype=np.float32)
    return np.array([empty if row is None else row for row in rows], dtype=np.float32).reshape(len(rows), dimension)
