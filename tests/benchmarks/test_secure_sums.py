"""The benchmark of secure sums: every figure comes out."""

from benchmarks.secure_sums import measure
from tests.tiny import tiny_dataset


def test_every_figure_comes_out():
    found = measure(tiny_dataset(40), 1)
    for method in ("default", "complete"):
        assert found[method]["clients"] == 4
        assert min(found[method][name] for name in ("round", "each", "masks", "seconds")) > 0
        assert min(found[method][name] for name in ("client", "server", "client_masks_ms", "server_unmasks_ms")) > 0
    assert found["hand_on"] > 0
    assert found["megabytes"] == 4 * 31 * 32 / 1e6
    assert found["validation"] > 0
