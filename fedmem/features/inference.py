"""Running a frozen sentence-transformers model so that a vector depends on its own input alone, to the last bit.

Matrix products of other shapes round otherwise, so a vector computed beside longer texts or in a smaller batch differs
in its last bits, and what a cache holds would depend on who filled it. Here every batch has the same number of rows
(filled up with repeats) and, for texts, one length: no padding either.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmem.errors import FeatureError
from fedmem.features.cache import FloatArray
from fedmem.features.model_files import ModelFiles

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Measured on 1,682 item texts, one thread: 8 rows 8.8 s, 16 rows 8.3 s, 32 rows 10.7 s; padded batches of 32 7.8 s.
# A single new text costs one batch: 8 keeps that small.
BATCH_SIZE = 8


def load_model(files: ModelFiles) -> "SentenceTransformer":
    """Load from local files only, on the CPU, running no code that comes with the model."""
    from sentence_transformers import SentenceTransformer  # 6 s: only where something is left to encode

    with _no_loading_bar():
        try:
            return SentenceTransformer(str(files.directory), device="cpu", local_files_only=True)
        except Exception as error:  # the library raises whatever its parsers raise
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise FeatureError(f"sentence-transformers cannot load {files.directory}: {reason}") from error


def encode_batch(model: "SentenceTransformer", inputs: Sequence[Any]) -> FloatArray:
    """Make vectors [b, D] of b ≤ BATCH_SIZE inputs of one shape, computed in a batch of exactly BATCH_SIZE."""
    assert 1 <= len(inputs) <= BATCH_SIZE, "one batch"
    filled = [*inputs, *[inputs[0]] * (BATCH_SIZE - len(inputs))]
    with one_thread():
        vectors = model.encode(filled, batch_size=BATCH_SIZE, show_progress_bar=False, convert_to_numpy=True)
    return np.asarray(vectors, dtype=np.float32)[: len(inputs)]


def batches(positions: Sequence[int]) -> Iterator[list[int]]:
    """Cut into pieces of at most BATCH_SIZE, in order."""
    for start in range(0, len(positions), BATCH_SIZE):
        yield list(positions[start : start + BATCH_SIZE])


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in the calling thread alone, whatever the environment says."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _no_loading_bar() -> Iterator[None]:
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
