"""The benchmark of the least size of clusters: the fewer are sent the less is found."""

from benchmarks.minimum_cluster import measured
from tests.tiny import tiny_config, tiny_dataset, tiny_snapshot, trained


def test_a_greater_size_leaves_less_to_be_found(tmp_path):
    run = trained(tmp_path / "run", tiny_snapshot(tiny_config(), tiny_dataset(40)))
    every, some, none = measured(run, 4, [1, 3, 1000], 20)
    assert every["sent"] == 1 > some["sent"] > none["sent"] == 0
    assert every["recall"] > some["recall"] > none["recall"] == 0
    assert none["nearest"] is None
    assert every["cosine"] > 0.999
