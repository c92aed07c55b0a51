from pathlib import Path

import numpy as np
import pytest

from fedmem.errors import FeatureError
from fedmem.features.precomputed import names_a_file, read_precomputed

VECTORS = np.arange(6, dtype=np.float64).reshape(3, 2)


def _npz(path: Path, ids: object = ("a", "b", "c"), vectors: object = VECTORS) -> str:
    np.savez(path, item_ids=np.asarray(ids), vectors=np.asarray(vectors))
    return str(path)


def test_vectors_go_to_their_items(tmp_path: Path) -> None:
    found = read_precomputed(_npz(tmp_path / "v.npz"))
    rows = found.rows_for(["c", "x", "a"])
    assert [None if row is None else row.tolist() for row in rows] == [[4, 5], None, [0, 1]]
    assert found.vectors.dtype == np.float32
    assert found.unknown_ids(["a", "c"]) == ["b"]
    assert found.identity.startswith("v.npz sha256:")


def test_numbers_as_ids(tmp_path: Path) -> None:
    assert read_precomputed(_npz(tmp_path / "v.npz", ids=[1, 20, 3])).item_ids == ("1", "20", "3")


def test_an_npy_takes_its_ids_from_the_file_beside_it(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    (tmp_path / "v.ids.txt").write_text("a\nb\nc\n")
    assert read_precomputed(str(tmp_path / "v.npy")).item_ids == ("a", "b", "c")


def test_other_vectors_have_another_identity(tmp_path: Path) -> None:
    first = read_precomputed(_npz(tmp_path / "v.npz")).identity
    assert read_precomputed(_npz(tmp_path / "v.npz", vectors=VECTORS + 1)).identity != first


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        (["a", "b"], VECTORS, "for 2 ids"),
        (["a", "b", "c"], VECTORS.ravel()[:3], "shape"),
        (["a", "b", "c"], np.zeros((3, 0)), "shape"),
        (["a", "b", "c"], np.array([["x", "y"]] * 3), "type <U1"),
        (["a", "b", "a"], VECTORS, "item 'a' 2 times"),
        (["a", "b", "c"], np.array([[0, 1], [0, np.nan], [1, 1]]), "NaN or infinity for item 'b'"),
        (["a", "b", "c"], np.array([[0, 1], [0, 1], [np.inf, 1]]), "NaN or infinity for item 'c'"),
        (np.array(["a", None, "c"], dtype=object), VECTORS, "cannot be read"),
    ],
)
def test_bad_contents_are_one_error(tmp_path: Path, ids: object, vectors: object, message: str) -> None:
    with pytest.raises(FeatureError, match=rf"bad\.npz .*{message}"):
        read_precomputed(_npz(tmp_path / "bad.npz", ids, vectors))


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    (tmp_path / "noise.npz").write_bytes(np.random.default_rng(0).bytes(300))
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "empty.ids.txt").write_text("a\n")
    (tmp_path / "table.parquet").write_bytes(b"PAR1")
    np.savez(tmp_path / "other.npz", something=VECTORS)
    np.save(tmp_path / "alone.npy", VECTORS)
    for name in ("noise.npz", "empty.npy", "table.parquet", "other.npz", "alone.npy", "absent.npz"):
        with pytest.raises(FeatureError, match=rf"{name} cannot be read as precomputed vectors .*item_ids"):
            read_precomputed(str(tmp_path / name))


def test_what_names_a_file(tmp_path: Path) -> None:
    (tmp_path / "table.parquet").write_bytes(b"")
    assert names_a_file("missing.npz")
    assert names_a_file(str(tmp_path / "table.parquet"))
    assert not names_a_file("clip-ViT-B-32")
    assert not names_a_file(str(tmp_path))
