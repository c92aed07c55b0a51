"""Vectors that the user computed elsewhere, by item id."""

import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.errors import FeatureError
from fedmem.features.cache import FloatArray, content_key

SUFFIXES = (".npz", ".npy")
_FORMATS = "give an .npz with `item_ids` [n] and `vectors` [n, D], or an .npy [n, D] beside NAME.ids.txt, one id a line"


@dataclass(frozen=True, eq=False)
class PrecomputedVectors:
    """``vectors[j]`` [D] belongs to ``item_ids[j]``."""

    item_ids: tuple[str, ...]
    vectors: FloatArray
    identity: str

    def rows_for(self, item_ids: Sequence[str]) -> list[FloatArray | None]:
        """Find one vector per catalogue item, ``None`` where the file has none; other ids of the file are not used."""
        row_of = {item_id: row for row, item_id in enumerate(self.item_ids)}
        return [self.vectors[row_of[item_id]] if item_id in row_of else None for item_id in item_ids]

    def unknown_ids(self, item_ids: Sequence[str]) -> list[str]:
        """List the ids of the file that the catalogue does not hold."""
        known = set(item_ids)
        return [item_id for item_id in self.item_ids if item_id not in known]


def names_a_file(name: str) -> bool:
    """Say whether an image encoder's name means a file of vectors rather than a model."""
    path = Path(name).expanduser()
    return path.suffix in SUFFIXES or path.is_file()


def read_precomputed(name: str) -> PrecomputedVectors:
    """Read and check an .npz or .npy file; raises FeatureError naming the file and, for a bad value, the item."""
    path = Path(name).expanduser()
    try:
        raw_ids, raw_vectors = _read_npz(path) if path.suffix == ".npz" else _read_npy(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FeatureError(f"{path} cannot be read as precomputed vectors ({error}): {_FORMATS}") from error
    item_ids = tuple(str(item_id) for item_id in raw_ids)
    vectors = _checked_vectors(path, item_ids, raw_vectors)
    return PrecomputedVectors(item_ids, vectors, f"{path.name} sha256:{content_key(path.read_bytes())}")


def _read_npz(path: Path) -> tuple[Sequence[Any], npt.NDArray[Any]]:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["item_ids"].ravel().tolist(), arrays["vectors"]


def _read_npy(path: Path) -> tuple[Sequence[Any], npt.NDArray[Any]]:
    if path.suffix != ".npy":
        raise ValueError(f"unknown ending {path.suffix!r}")
    ids = path.with_suffix(".ids.txt").read_text(encoding="utf-8").splitlines()
    return ids, np.asarray(np.load(path, allow_pickle=False))


def _checked_vectors(path: Path, item_ids: tuple[str, ...], raw: npt.NDArray[Any]) -> FloatArray:
    if raw.ndim != 2 or len(raw) != len(item_ids) or raw.shape[1] == 0 or not np.issubdtype(raw.dtype, np.number):
        found = f"vectors of shape {list(raw.shape)} and type {raw.dtype} for {len(item_ids)} ids"
        raise FeatureError(f"{path} holds {found}: {_FORMATS}")
    repeated, times = next(iter(Counter(item_ids).most_common(1)), ("", 0))
    if times > 1:
        raise FeatureError(f"{path} names item {repeated!r} {times} times: keep one vector per item")
    vectors = raw.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise FeatureError(f"{path} holds NaN or infinity for item {item_ids[bad[0]]!r}: leave such items out")
    return vectors
