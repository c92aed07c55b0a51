"""The benchmark of cover traffic: what is covered no longer stands out, and the noise that this takes is told."""

from benchmarks.cover_rows import measured
from tests.tiny import tiny_dataset


def test_who_looks_at_lengths_finds_less_the_more_is_covered():
    dataset = tiny_dataset(24, 60, longest=12)
    none, some, everything = (measured(dataset, share, 2, 10) for share in (0.0, 0.5, 1.0))
    assert none["length"] > some["length"] > everything["length"]
    assert abs(everything["length"] - 0.5) < 0.15
    assert everything["ten"] > everything["length"]
    assert none["noise"] == 0 < some["noise"] < everything["noise"]
    assert all(0 <= row["ndcg"] <= 1 and 0.5 <= row["direction"] <= 1 for row in (none, some, everything))
