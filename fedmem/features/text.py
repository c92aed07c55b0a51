"""Texts to frozen vectors by sentence-transformers, cached on disk by content hash."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedmem.features.cache import Batches, Cache, FloatArray, Progress, cached_rows, content_key
from fedmem.features.inference import batches, encode_batch, load_model
from fedmem.features.model_files import OFFLINE_MODEL, ModelFiles, find_model
from fedmem.interruption import heed

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class TextEncoder:
    """A frozen sentence-transformers model given by name or local path; loaded only when a text is not in the cache.

    Raises FeatureError, at the first use, where the model cannot be had.
    """

    def __init__(self, model_name: str = OFFLINE_MODEL, cache_dir: Path | str | None = None) -> None:
        self.model_name = model_name
        self._cache = Cache(cache_dir)

    @property
    def identity(self) -> str:
        """Name and SHA-256 of the weights, for the manifest; loads nothing."""
        return self._files.identity

    @property
    def is_loaded(self) -> bool:
        """Say whether a text is encoded without a wait for the model, whose loading takes seconds."""
        return "_model" in self.__dict__

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> FloatArray:
        """Make vectors [n, D_t] of n texts, none of them empty; a text's vector does not depend on the others."""
        assert all(text.strip() for text in texts), "an empty text has no vector: mask it"
        keys = [content_key("text", self._files.fingerprint, text) for text in texts]
        rows = cached_rows(self._cache, keys, lambda missing: self._compute(texts, missing), progress)
        present = [row for row in rows if row is not None]
        assert len(present) == len(texts), "every text was encoded"
        return np.stack(present) if present else np.zeros((0, 0), dtype=np.float32)

    def encode_unkept(self, texts: Sequence[str]) -> dict[str, FloatArray]:
        """Make the vectors [D_t] of texts, as ``encode`` does; they are not put into the cache on disk."""
        distinct = list(dict.fromkeys(texts))
        computed = self._compute(distinct, list(range(len(distinct))))
        return {distinct[place]: row for batch, rows in computed for place, row in zip(batch, rows, strict=True)}

    def _compute(self, texts: Sequence[str], missing: list[int]) -> Batches:
        """Encode batch by batch; a stop is heeded before each, and between two texts whose lengths are found."""
        for group in self._groups_of_one_length(texts, missing):
            for batch in batches(group):
                heed()
                yield batch, encode_batch(self._model, [texts[position] for position in batch])

    def _groups_of_one_length(self, texts: Sequence[str], positions: list[int]) -> list[list[int]]:
        groups = defaultdict(list)
        for position in positions:
            heed()
            groups[_token_count(self._model, texts[position])].append(position)
        return [groups[length] for length in sorted(groups)]

    @cached_property
    def _files(self) -> ModelFiles:
        return find_model(self.model_name, "text")

    @cached_property
    def _model(self) -> "SentenceTransformer":
        return load_model(self._files)


def _token_count(model: "SentenceTransformer", text: str) -> int:
    tokens = model.preprocess([text])["input_ids"]
    return int(tokens.shape[-1])
