"""What a machine does about runs that others published, erased from and removed: when it asks, what it leaves alone."""

from collections.abc import Collection
from pathlib import Path

import pytest

from fedmem.bucket import Bucket, Runs
from fedmem.errors import BucketError, CheckpointError
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns, ItemRow
from fedmem.storage.erasures import ErasureStore
from fedmem.storage.followed_deletions import FollowedDeletions
from fedmem.storage.followed_runs import EVERY, TRY_AGAIN, FollowedRuns
from fedmem.storage.job_removal import JobRemoval
from fedmem.storage.jobs import JobStore
from tests.clock import Clock
from tests.storage.builders import add_dataset


@pytest.fixture
def clock() -> Clock:
    return Clock(1e9)


@pytest.fixture
def bucket(tmp_path) -> Bucket:
    return Bucket(f"memory://{tmp_path.name}/runs")


@pytest.fixture
def jobs(engine, clock) -> JobStore:
    add_dataset(engine, "films")
    return JobStore(engine, clock)


@pytest.fixture
def machines(engine, bucket, tmp_path) -> tuple[Runs, Runs]:
    return Runs(tmp_path / "one", bucket), Runs(tmp_path / "two", bucket)


@pytest.fixture
def followed(engine, machines, clock) -> FollowedRuns:
    """On the second machine."""
    return followed_of(engine, machines[1], clock)


def followed_of(engine, runs: Runs, clock: Clock) -> FollowedRuns:
    return FollowedRuns(engine, JobRemoval(engine, runs, clock), deletions(engine, runs), known, erase, clock)


def known(folder: Path) -> list[str]:
    """The users in what ``write`` writes."""
    text = (folder / "dataset.json").read_text()
    if "damaged" in text:
        raise CheckpointError(f"{folder}/dataset.json: is damaged")
    return text.split(", ")


def erase(folder: Path, users: Collection[str]) -> list[Path]:
    (folder / "dataset.json").write_text(", ".join(user for user in known(folder) if user not in users))
    return []


def deletions(engine, runs: Runs, forget=lambda: None) -> FollowedDeletions:
    return FollowedDeletions(engine, runs.data_dir / ".deletions", forget)


def ended(jobs: JobStore) -> int:
    jobs.create(kind="training", dataset="films", config={"data": {}}, num_rounds=9)
    job, lease = jobs.claim("trainer", 600, 3)
    jobs.finish(lease, "failed", message="a test")
    return job.id


def write(runs: Runs, job: int, text: str) -> None:
    folder = runs.folder_of(job)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("dataset.json", text), ("manifest.json", "{}")):
        (folder / f"{name}.new").write_text(content)
        (folder / f"{name}.new").replace(folder / name)


def read(runs: Runs, job: int) -> str:
    return (runs.folder_of(job) / "dataset.json").read_text()


def test_news_of_the_database_alone_lead_to_the_bucket(engine, jobs, machines, followed, clock, monkeypatch):
    one, two = machines
    job = ended(jobs)
    write(one, job, "ann, bob")
    one.publish(job, 2)
    two.bring(job)
    followed.look()
    asked = []
    monkeypatch.setattr(two, "bring", lambda job, bring=two.bring: (asked.append(job), bring(job))[1])
    write(one, job, "bob")
    one.publish(job, 3, thoroughly=True)
    followed.look()
    assert asked == []
    CatalogueStore(engine).delete_user("films", "ann")
    followed.look()
    followed.look()
    assert asked == [job]
    assert read(two, job) == "bob"
    clock.now += EVERY
    followed.look()
    assert asked == [job, job]


def test_a_run_that_a_trainer_of_this_machine_holds_is_left_to_it_and_looked_at_again(jobs, machines, followed):
    one, two = machines
    job = ended(jobs)
    write(one, job, "ann, bob")
    one.publish(job, 2)
    trainers = Runs(two.data_dir, two.bucket)
    with trainers.holding(job):
        write(one, job, "bob")
        one.publish(job, 3)
        followed.look()
        assert read(two, job) == "ann, bob"
    followed.look()
    assert read(two, job) == "bob"


def test_a_bucket_that_is_away_is_asked_again_later(jobs, machines, followed, clock, monkeypatch, caplog):
    one, two = machines
    job = ended(jobs)
    write(one, job, "ann, bob")
    one.publish(job, 2)
    two.bring(job)
    write(one, job, "bob")
    one.publish(job, 3)
    with monkeypatch.context() as patch:

        def away(folder: str) -> list[str]:
            raise BucketError("the bucket is away")

        patch.setattr(two.bucket, "names", away)
        followed.look()
    assert f"job {job} is not brought: the bucket is away" in caplog.text
    followed.look()
    assert read(two, job) == "ann, bob"
    clock.now += TRY_AGAIN
    followed.look()
    assert read(two, job) == "bob"


def test_what_others_removed_goes_and_what_the_database_never_knew_stays(engine, jobs, machines, followed):
    one, two = machines
    job, other = ended(jobs), 77
    for runs in machines:
        write(runs, job, "ann")
    write(two, other, "brought from elsewhere")
    one.publish(job, 2)
    followed.look()
    JobRemoval(engine, one).remove(job, "a test")
    assert one.published() == []
    followed.look()
    assert not two.folder_of(job).exists()
    assert read(two, other) == "brought from elsewhere"


def test_what_a_killed_removal_left_in_the_bucket_is_swept(engine, jobs, machines, clock):
    one, two = machines
    job = ended(jobs)
    JobRemoval(engine, one, clock).remove(job, "a test")
    write(two, job, "ann")
    two.publish(job, 2)
    assert one.published() == [job]
    JobRemoval(engine, two, clock).sweep()
    assert one.published() == []
    assert not two.folder_of(job).exists()


def test_runs_that_were_there_before_the_bucket_are_published_but_not_one_that_trains(jobs, machines, followed):
    _, two = machines
    job = ended(jobs)
    jobs.create(kind="training", dataset="films", config={"data": {}}, num_rounds=9)
    running, _ = jobs.claim("trainer", 600, 3)
    for number in (job, running.id):
        write(two, number, "ann")
    followed.look()
    assert two.published() == [job]


def test_without_a_bucket_nothing_is_looked_at(engine, tmp_path, monkeypatch):
    runs = Runs(tmp_path)
    forget = deletions(engine, runs, lambda: pytest.fail("forgot"))
    followed = FollowedRuns(engine, JobRemoval(engine, runs), forget, known, erase)
    monkeypatch.setattr(followed, "_state", lambda: pytest.fail("asked"))
    followed.look()


def test_what_may_hold_whom_others_deleted_is_forgotten_once_for_each_deletion(engine, jobs, machines):
    forgotten = []
    for _ in range(2):  # as after a restart
        deletions(engine, machines[0], lambda: forgotten.append("all")).look()
    assert forgotten == ["all"], "what was here before the first look"
    CatalogueStore(engine).delete_user("films", "ann")
    for _ in range(2):
        deletions(engine, machines[0], lambda: forgotten.append("ann")).look()
    assert forgotten == ["all", "ann"]


def test_what_could_not_be_forgotten_is_tried_again(engine, machines):
    def refuse() -> None:
        raise CheckpointError("it cannot be removed")

    with pytest.raises(CheckpointError):
        deletions(engine, machines[0], refuse).look()
    forgotten = []
    deletions(engine, machines[0], lambda: forgotten.append("it")).look()
    assert forgotten == ["it"]


def test_what_the_bucket_lost_is_put_back_at_a_start_where_it_is(jobs, machines, followed):
    one, two = machines
    job = ended(jobs)
    write(two, job, "ann")
    two.publish(job, 2)
    there = two.bucket.names(f"jobs/{job}/objects")
    two.bucket.remove(there)
    followed.look()
    assert two.bucket.names(f"jobs/{job}/objects") == there
    one.bring(job)
    assert read(one, job) == "ann"


def trained_on(engine, jobs: JobStore, users: list[str]) -> int:
    """A job that has ended, whose snapshot holds what these users did."""
    catalogue = CatalogueStore(engine)
    times = [float(time) for time in range(len(users))]
    catalogue.write("films", "a test", InteractionColumns(users, ["m1"] * len(users), times), [ItemRow("m1", "Film")])
    jobs.create(kind="training", dataset="films", config={"data": {}}, num_rounds=9)
    job, lease = jobs.claim("trainer", 600, 3)
    last = max(catalogue.history("films", user)[0].id for user in users)
    jobs.begin(lease, snapshot_digest="a test", last_interaction_id=last)
    jobs.finish(lease, "failed", message="a test")
    return job.id


def test_what_a_machine_publishes_after_its_absence_is_without_whom_others_deleted(engine, jobs, machines, followed):
    _, two = machines
    job, catalogue = trained_on(engine, jobs, ["ann", "bob", "eve"]), CatalogueStore(engine)
    write(two, job, "ann, bob, eve")
    for user in ("ann", "eve"):
        catalogue.delete_user("films", user)
    catalogue.write("films", "a test", InteractionColumns(["ann"], ["m1"], [9.0]), [])  # another of this name
    for erasure in ErasureStore(engine).pending():  # of what another machine had in the bucket that was before
        ErasureStore(engine).done(erasure)
    followed.look()
    assert read(two, job) == "bob"
    there = [two.bucket.read(name) for name in two.bucket.names("")]
    assert b"bob" in there
    assert not any(user in content for content in there for user in (b"ann", b"eve"))


def test_a_copy_that_cannot_be_searched_is_not_published_and_keeps_no_other(engine, jobs, machines, followed, caplog):
    _, two = machines
    damaged, whole = (trained_on(engine, jobs, ["ann"]) for _ in range(2))
    write(two, damaged, "damaged")
    write(two, whole, "ann")
    followed.look()
    assert two.published() == [whole]
    assert read(two, whole) == "ann"
    assert f"job {damaged}, which is here, cannot be published: " in caplog.text
    assert "dataset.json: is damaged" in caplog.text


def test_of_two_machines_that_were_away_the_second_takes_what_the_first_has_published(engine, jobs, machines, clock):
    one, two = machines
    job = trained_on(engine, jobs, ["ann", "bob"])
    write(one, job, "ann")
    write(two, job, "bob")
    published = two.published()
    followed_of(engine, one, clock).look()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two, "published", lambda: published)  # as it was when this one looked
        followed_of(engine, two, clock).look()
    assert read(two, job) == "ann"
