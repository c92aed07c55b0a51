"""What a trainer writes of a round, which checkpoints it keeps, and what becomes of a write that fails."""

import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from fedmem.checkpoint import RunDirectory
from fedmem.checkpoint.checkpoints import Checkpoints
from fedmem.errors import CheckpointError, LeaseLostError
from fedmem.experiment import TrainingRun
from fedmem.storage.metrics import MetricStore
from tests.end_to_end.products import Product
from tests.tiny import tiny_config, tiny_snapshot
from trainer.control import Control, Shutdown
from trainer.job_recorder import JobRecorder, bytes_of, prototypes_of

ROUNDS = 12


@pytest.fixture
def product(tmp_path, database_url) -> Iterator[Product]:
    product = Product.made(tmp_path, database_url)
    yield product
    product.engine.dispose()


def recorder_of(product: Product, snapshot, keep_every: int = 5) -> JobRecorder:
    product.queue()
    job, lease = product.jobs.claim("the test", 60, 5)
    control = Control(product.jobs, lease, 60, Shutdown(), time.monotonic())
    directory = product.directory(job.id)
    return JobRecorder(
        product.jobs,
        job,
        lease,
        control,
        directory,
        snapshot,
        keep_every=keep_every,
        before=None,
        publish=lambda: None,
        committed=lambda report: None,
    )


def snapshot_of(**changes):
    config = tiny_config(
        save_interval=3,
        federated={"num_rounds": ROUNDS, "patience": 100},
        evaluation={"eval_every": 4},
        **changes,
    )
    return tiny_snapshot(config)


def trained(product: Product, snapshot, recorder: JobRecorder) -> RunDirectory:
    directory = product.directory(1)
    with closing(TrainingRun(directory, snapshot, recorder=recorder)) as run, closing(recorder):
        list(run.rounds())
    return directory


def test_best_last_and_every_nth_checkpoint_are_kept_with_what_they_stand_on(product):
    snapshot = snapshot_of()
    recorder = recorder_of(product, snapshot)
    directory = trained(product, snapshot, recorder)
    rows = MetricStore(product.engine).rounds(1)
    assert [row.round for row in rows] == list(range(1, ROUNDS + 1))
    named = [row.round for row in rows if row.checkpoint]
    assert named == directory.checkpoints.rounds()
    best = product.jobs.get(1).best_round
    wanted = {best, ROUNDS, 5, 10}
    assert set(named) == directory.checkpoints.needed(wanted) >= wanted
    assert len(named) < ROUNDS


def test_every_kept_checkpoint_holds_all_memories(product, tmp_path):
    """Those of a round that was written as a change on the one before equal those that were written whole."""
    snapshot = snapshot_of()
    directory = trained(product, snapshot, recorder_of(product, snapshot))
    whole = TrainingRun.start(
        tmp_path / "whole", tiny_snapshot(snapshot.config.model_copy(update={"save_interval": 1}))
    )
    for report in whole.rounds():
        if report.round not in directory.checkpoints.rounds():
            continue
        expected = whole.directory.checkpoints.read(report.round).memories
        found = directory.checkpoints.read(report.round).memories
        assert found.keys() == expected.keys()
        for user, memory in found.items():
            for name, values in vars(memory).items():
                assert np.array_equal(values, getattr(expected[user], name))


def test_the_prototypes_of_every_evaluated_round_are_kept_and_described(product):
    snapshot = snapshot_of()
    trained(product, snapshot, recorder_of(product, snapshot))
    store = MetricStore(product.engine)
    assert store.prototype_rounds(1) == [4, 8, 12]
    first, second = store.prototypes(1, 4), store.prototypes(1, 8)
    checkpoint = product.directory(1).checkpoints.read(12).server.global_memory
    assert bytes_of(prototypes_of(store.prototypes(1).arrays)) == bytes_of(checkpoint)
    assert [p["drift"] for p in first.description] == [None] * 3
    assert all(p["drift"] >= -1e-6 for p in second.description)
    assert sum(p["mass"] for p in first.description) == pytest.approx(1)


def test_a_failed_write_is_raised_by_the_next_call_and_names_no_checkpoint(product, monkeypatch):
    snapshot = snapshot_of()
    recorder = recorder_of(product, snapshot)
    original = Checkpoints.write

    def full(self, server, memories, base=None, handed_on=None):
        if server.round == 4:
            raise CheckpointError("the disk is full")
        return original(self, server, memories, base, handed_on)

    monkeypatch.setattr(Checkpoints, "write", full)
    with pytest.raises(CheckpointError, match="full"):
        trained(product, snapshot, recorder)
    assert product.jobs.get(1).round == 3
    assert recorder.record.last == 3


def test_without_the_lease_nothing_is_written(product):
    snapshot = snapshot_of()
    recorder = recorder_of(product, snapshot)
    with product.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE jobs SET token = token + 1")
    with pytest.raises(LeaseLostError):
        trained(product, snapshot, recorder)
    assert MetricStore(product.engine).rounds(1, after_round=-1) == []
    assert recorder.record.last == 0


def test_timings_and_memory_stand_apart(product):
    snapshot = snapshot_of()
    trained(product, snapshot, recorder_of(product, snapshot))
    row = MetricStore(product.engine).rounds(1, after_round=3, limit=1)[0]
    assert {"seconds_train", "seconds_aggregate", "seconds_evaluate", "seconds_write", "peak_memory_mib"} == set(
        row.metrics["system"]
    )
    assert not [name for name in row.metrics["train"] if name.startswith("seconds")]
    assert {"HR@10", "HR@10_se", "users"} <= row.metrics["validation"].keys()
