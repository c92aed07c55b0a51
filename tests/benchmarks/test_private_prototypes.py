"""The benchmark of prototypes with a budget: every figure comes out, and less noise leaves more."""

import pytest

from benchmarks.private_prototypes import measured
from tests.tiny import tiny_config, tiny_dataset, tiny_snapshot, trained


def test_less_noise_leaves_more_of_the_exact_centroids(tmp_path):
    run = trained(tmp_path / "run", tiny_snapshot(tiny_config(privacy={"prototypes_clip": 10.0}), tiny_dataset(40)))
    start, exact, noisy, quiet = measured(run, 10, [2.0], [1, 10_000])
    assert (exact["cosine"], exact["away"]) == (pytest.approx(1), 0)
    assert start["cosine"] < quiet["cosine"] > noisy["cosine"]
    assert quiet["away"] < start["away"]
    assert all(0 <= row[split] <= 1 for row in (start, exact, noisy, quiet) for split in ("validation", "test"))
    assert noisy["noise"] == pytest.approx(10_000 * quiet["noise"])
