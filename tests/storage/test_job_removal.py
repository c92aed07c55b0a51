"""Removing jobs: what goes with them, what is refused, what numbers new ones have."""

from unittest.mock import Mock

import pytest
from sqlalchemy import func, select

from fedmem.bucket import Runs
from fedmem.errors import ConflictError, UnknownJobError
from fedmem.storage.ab_tests import AbTestStore
from fedmem.storage.engine import reading
from fedmem.storage.job_removal import DAY, JobRemoval, size_of
from fedmem.storage.jobs import JobStore, RoundResult
from fedmem.storage.models import ModelStore
from fedmem.storage.schema import activations, logs, metrics, models, removed_jobs, rounds
from tests.clock import Clock
from tests.storage.builders import add_dataset


@pytest.fixture
def clock() -> Clock:
    return Clock(1e9)


@pytest.fixture
def store(engine, clock) -> JobStore:
    add_dataset(engine, "films")
    return JobStore(engine, clock)


@pytest.fixture
def removal(engine, tmp_path, clock) -> JobRemoval:
    return JobRemoval(engine, Runs(tmp_path), clock)


def queued(store, **changes) -> int:
    values = {"kind": "training", "dataset": "films", "config": {"data": {}}, "num_rounds": 9} | changes
    return store.create(**values)[0].id


def ended(store, removal, *, activate: bool = False, **changes) -> int:
    """A job with a round, a model and a folder."""
    queued(store, **changes)
    job, lease = store.claim("trainer", 600, 3)
    store.begin(lease, snapshot_digest="digest", last_interaction_id=None)
    if job.start_from is None:
        store.commit_round(lease, RoundResult(1, True, "000001", {"train": {"loss": 1.0}}))
    store.finish(lease, "succeeded", model_round=1, activate=activate)
    folder = removal.runs.folder_of(job.id) / "rounds" / "000001"
    folder.mkdir(parents=True)
    (folder / "server.safetensors").write_bytes(bytes(10_000))
    return job.id


def count(engine, *tables) -> list[int]:
    with reading(engine) as connection:
        return [connection.scalar(select(func.count()).select_from(table)) for table in tables]


def test_a_job_goes_with_all_that_is_its_own(engine, store, removal):
    job = ended(store, removal)
    (found,) = removal.look([job])
    assert (found.job.id, found.use) == (job, "")
    assert 10_000 <= found.size == size_of(removal.runs.folder_of(job))
    removal.remove(job, "a test")
    assert count(engine, rounds, metrics, logs, models) == [0, 0, 0, 0]
    assert list(removal.runs.folder.iterdir()) == []
    with pytest.raises(UnknownJobError):
        removal.remove(job, "a test")
    with reading(engine) as connection:
        assert connection.execute(select(removed_jobs)).all() == [(job, 1e9, "a test")]


def test_its_number_does_not_come_again(store, removal):
    first, second = ended(store, removal), ended(store, removal)
    removal.remove(second, "a test")
    assert queued(store) == second + 1
    removal.remove(first, "a test")
    assert queued(store) == second + 2


def test_what_is_not_over_is_not_removed(store, removal):
    job = queued(store)
    with pytest.raises(ConflictError, match=f"job {job} is queued and cannot be removed: stop it first"):
        removal.look([job])
    with pytest.raises(ConflictError, match="stop it first"):
        removal.remove(job, "a test")


def test_a_model_in_service_stays_with_its_job_unless_all_is_to_go(engine, store, removal):
    job = ended(store, removal, activate=True)
    for refused in (removal.look, lambda jobs: removal.remove(jobs[0], "a test")):
        with pytest.raises(ConflictError, match="its model job-1-round-1 is in service for the data set 'films'"):
            refused([job])
    assert removal.look([job], even_in_service=True)[0].use == "in service"
    removal.remove(job, "a test", even_in_service=True)
    assert count(engine, models, activations) == [0, 0]
    assert ModelStore(engine).all_active() == []


def test_a_model_that_is_tried_stays_with_its_job(engine, store, removal, clock):
    ended(store, removal, activate=True)
    tried = ended(store, removal)
    tests = AbTestStore(engine, clock)
    test = tests.start(f"job-{tried}-round-1", 0.5)
    with pytest.raises(ConflictError, match=r"is tried in an A/B test for .*Stop test 1 before"):
        removal.remove(tried, "asked for")
    assert removal.look([tried], even_in_service=True)[0].use == "tried in an A/B test"
    assert removal.beyond(0, None) == []
    tests.stop(test.id, "enough")
    removal.remove(tried, "asked for")
    assert tests.get(test.id).treatment == test.treatment  # the record stays


def test_what_another_is_to_go_on_from_stays_until_it_has(engine, store, removal):
    parent = ended(store, removal)
    child = queued(store, start_from=parent)
    with pytest.raises(ConflictError, match=f"job {child} is to go on from it"):
        removal.remove(parent, "a test")
    store.stop(child)
    removal.remove(parent, "a test")
    assert store.get(child).start_from is None


def test_a_rollback_goes_past_a_removed_job(engine, store, removal):
    jobs = [ended(store, removal, activate=True) for _ in range(3)]
    removal.remove(jobs[1], "a test")
    assert [row.version for row in ModelStore(engine).history()] == ["job-3-round-1", "job-1-round-1"]
    assert ModelStore(engine).before("films").version == "job-1-round-1"


def test_by_number_the_newest_stay_and_what_serves_or_would_after_a_rollback(store, removal):
    served = [ended(store, removal, activate=True) for _ in range(3)]
    others = [ended(store, removal) for _ in range(3)]
    assert removal.beyond(None, None) == []
    assert removal.beyond(2, None) == [served[0], others[0]]
    assert removal.beyond(0, None) == [served[0], *others]


def test_by_age_those_go_that_ended_long_ago(store, removal, clock):
    old = ended(store, removal)
    clock.now += 3 * DAY
    ended(store, removal)
    queued(store)
    assert removal.beyond(None, 3.5) == []
    assert removal.beyond(None, 2) == [old]


def test_what_a_killed_removal_left_is_removed(store, removal, monkeypatch):
    job = ended(store, removal)
    with monkeypatch.context() as killed:
        killed.setattr("fedmem.storage.job_removal.shutil.rmtree", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            removal.remove(job, "a test")
    (left,) = removal.runs.folder.iterdir()
    assert (left / "rounds").is_dir()
    other = ended(store, removal)
    removal.sweep()
    assert [path.name for path in removal.runs.folder.iterdir()] == [str(other)]


def test_a_folder_that_cannot_be_removed_is_named(store, removal, monkeypatch):
    job = ended(store, removal)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fedmem.storage.job_removal.shutil.rmtree", refuse)
    with pytest.raises(ValueError, match=f"job {job} is removed, but not its folder .*{job}"):
        removal.remove(job, "a test")
