"""A run whose clients send their transitions as a count sketch."""

from pathlib import Path

import numpy as np

from fedmem.evaluation.evaluate import evaluate
from fedmem.memory.count_sketch import PairHashes, TransitionSketch
from fedmem.serving import Recommender
from tests.tiny import ITEMS, tiny_config, tiny_snapshot, trained

SKETCH = {"sketch_bits": 9, "sketch_rows": 3, "strengths": [0, 0.5]}


def test_what_is_evaluated_served_and_counted_in_bytes_is_the_sketch(tmp_path: Path) -> None:
    exact = trained(tmp_path / "exact", tiny_snapshot(tiny_config(transitions={"strengths": [0, 0.5]})))
    run = trained(tmp_path / "run", tiny_snapshot(tiny_config(transitions=SKETCH)))
    lines, exactly = run.directory.read_metrics(), exact.directory.read_metrics()
    size = 4 * (3 * 2**9 + ITEMS + 1)
    assert lines[0]["metrics"]["bytes_up_transitions"] == size
    assert exactly[0]["metrics"]["bytes_up_transitions"] == 4 * (ITEMS + 1) ** 2
    assert lines[-1]["without_transitions"] == exactly[-1]["without_transitions"], "the weights are the same"
    served = Recommender.load(run.directory.path)
    assert evaluate(served.dataset, served, "test").to_dict() == run.record.test
    counts = served.trained.transitions.counts
    read = TransitionSketch.of(counts, PairHashes.drawn(3, 9)).decoded(run.snapshot.config.transitions).pairs
    table = served.scorer.transitions
    assert {(i, j) for i, row in enumerate(table.items.tolist()) for j in row if j} == set(
        zip(*(place.tolist() for place in read.nonzero()), strict=True)
    )
    assert not np.array_equal(table.weights, Recommender.load(exact.directory.path).scorer.transitions.weights)
