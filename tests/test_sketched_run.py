"""A run whose clients send their transitions as a count sketch."""

from pathlib import Path

import numpy as np
import pytest

from fedmem.checkpoint.erasure import erase_users
from fedmem.checkpoint.transition_files import read_transitions, write_transitions
from fedmem.controls import control_recommenders
from fedmem.errors import CheckpointError
from fedmem.evaluation.evaluate import evaluate
from fedmem.experiment import TrainingRun
from fedmem.memory.count_sketch import TransitionSketch, sketched
from fedmem.memory.handed_on import HandedOn
from fedmem.memory.transitions import TransitionCounts
from fedmem.serving import Recommender
from tests.memory.test_transitions import same
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
    assert counts.pairs.shape == (3, 2**9), "the server has cells alone"
    read = TransitionSketch.read(counts).decoded(run.snapshot.config.transitions).pairs
    table = served.scorer.transitions
    assert {(i, j) for i, row in enumerate(table.items.tolist()) for j in row if j} == set(
        zip(*(place.tolist() for place in read.nonzero()), strict=True)
    )
    assert not np.array_equal(table.weights, Recommender.load(exact.directory.path).scorer.transitions.weights)


def test_what_it_ends_with_is_the_sketch_of_the_exact_sum_and_a_deleted_user_leaves_it_exactly(tmp_path: Path) -> None:
    settings = {"federated": {"num_rounds": 4}}
    exact = trained(tmp_path / "exact", tiny_snapshot(tiny_config(**settings)))
    run = trained(tmp_path / "run", tiny_snapshot(tiny_config(**settings, transitions=SKETCH)))
    data, config = run.snapshot.dataset, run.snapshot.config.transitions
    number = run.record.last
    pairs = exact.directory.checkpoints.read_server(number).transitions
    assert same(run.directory.checkpoints.read_server(number).transitions, sketched(pairs, config))
    erase_users(run.directory.path, [data.vocabulary.users[3]])
    handed_on, left = exact.directory.checkpoints.read_handed_on(number)[3], run.directory.checkpoints.read(number)
    assert handed_on
    gone = TransitionCounts.of([data.training_history(3)[:handed_on]], data.num_items, config.window)
    assert same(left.server.transitions, sketched(pairs - gone, config))
    assert left.handed_on[3] == 0


def test_feedback_is_counted_in_cells_and_a_forgotten_user_leaves_none(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", tiny_snapshot(tiny_config(transitions=SKETCH)))
    served = Recommender.load(run.directory.path).with_held_out()
    before = served.trained.transitions.counts
    served.count([("new", [], ["1", "2", "3"])])
    items = np.array([served.dataset.vocabulary.item_index(item) for item in "123"])
    new = TransitionCounts.of([items], ITEMS, 10)
    assert same(served.trained.transitions.counts, before + sketched(new, run.snapshot.config.transitions))
    served.forget_user("new", ["1", "2", "3"])
    assert same(served.trained.transitions.counts, before)


def test_controls_shuffle_what_is_read_of_it(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", tiny_snapshot(tiny_config(transitions={**SKETCH, "strengths": [0.5]})))
    checkpoint = run.directory.checkpoints.read(run.record.last)
    controls = control_recommenders(run.snapshot, checkpoint)
    found = {name: controls[name].scorer.transitions for name in ("shuffled transition rows", "random transitions")}
    own = controls["trained model"].scorer.transitions
    assert controls["no transitions"].scorer.transitions is None
    for name, table in found.items():
        assert table.weights.any(), name
        assert not np.array_equal(table.items, own.items), name


@pytest.mark.parametrize(
    ("stored", "asked", "said"),
    [
        (
            None,
            SKETCH,
            r"the pairs of \d+ items, and .*sketch_bits = 9 with .*asks for 3 rows of 512 cells",
        ),
        ({**SKETCH, "sketch_rows": 4}, SKETCH, r"4 rows of 512 cells, and .* asks for 3 rows of 512 cells"),
        (SKETCH, {}, r"3 rows of 512 cells, and .*sketch_bits = None .* asks for the pairs of \d+ items"),
    ],
)
def test_a_run_whose_checkpoint_counts_in_another_form_does_not_go_on(tmp_path: Path, stored, asked, said) -> None:
    """As one whose clients handed on pairs, before they handed on cells."""
    config = tiny_config(federated={"num_rounds": 2}, transitions=asked)
    run = trained(tmp_path / "run", tiny_snapshot(config))
    exact = trained(tmp_path / "exact", tiny_snapshot(tiny_config(federated={"num_rounds": 2})))
    found = read_transitions(exact.directory.checkpoints.folder_of(2))
    counts = sketched(found.counts, tiny_config(transitions=stored or {}).transitions)
    write_transitions(run.directory.checkpoints.folder_of(2), HandedOn(counts, found.lengths))
    before = run.directory.read_metrics()
    longer = tiny_config(federated={"num_rounds": 4}, transitions=asked)
    with pytest.raises(CheckpointError, match=f"000002: holds transitions as {said}.*train anew, under another --out"):
        TrainingRun.resume(run.directory.path, longer)
    assert run.directory.read_metrics() == before
