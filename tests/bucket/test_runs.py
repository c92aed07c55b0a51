"""Runs in a bucket: what another machine gets, what a kill between two steps leaves, what is damaged, who may write."""

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedmem.bucket import Bucket, Runs, erasers_epoch, trainers_epoch
from fedmem.bucket import runs as of_runs
from fedmem.bucket.local_copy import LocalCopy
from fedmem.bucket.manifest import Manifest
from fedmem.errors import BucketError, CheckpointError, LeaseLostError

HERE = Path(__file__).parent
FIRST = {"manifest.json": "a run", "dataset.json": "ann, bob", "rounds/000001/a": "1 a", "rounds/000001/b": "same"}
SECOND = {"manifest.json": "a run", "dataset.json": "bob", "rounds/000002/a": "2 a", "rounds/000002/b": "same"}


@pytest.fixture(params=["memory", "file", "s3"])
def url(request, tmp_path) -> str:
    if request.param == "s3":
        return request.getfixturevalue("s3")()
    return f"file://{tmp_path}/bucket" if request.param == "file" else f"memory://{tmp_path.name}/runs"


@pytest.fixture
def machines(url, tmp_path) -> tuple[Runs, Runs]:
    """Two with a data folder each, and one bucket."""
    return Runs(tmp_path / "one", Bucket(url)), Runs(tmp_path / "two", Bucket(url))


def write(runs: Runs, files: dict[str, str], job: int = 7) -> None:
    """Let a job's folder hold these files and no others, each replaced as checkpoints are."""
    folder = runs.folder_of(job)
    for name in LocalCopy(folder, "").names():
        if name not in files:
            (folder / name).unlink()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).with_suffix(".new").write_text(text)
        (folder / name).with_suffix(".new").replace(folder / name)


def read(runs: Runs, job: int = 7) -> dict[str, str]:
    folder = runs.folder_of(job)
    return {name: (folder / name).read_text() for name in LocalCopy(folder, "").names()}


def objects(runs: Runs, job: int = 7) -> set[str]:
    return {name.rpartition("/")[2] for name in runs.bucket.names(f"jobs/{job}/objects")}


def digests(files: dict[str, str]) -> set[str]:
    return {hashlib.sha256(text.encode()).hexdigest() for text in files.values()}


def test_another_machine_gets_what_one_publishes_and_nothing_else_is_left(machines):
    one, two = machines
    assert two.bring(7), "nothing is there yet"
    assert read(two) == {}
    write(one, FIRST)
    (one.folder_of(7) / ".scratch-1").write_text("a working file")
    one.publish(7, 2)
    two.bring(7)
    assert read(two) == FIRST
    assert objects(one) == digests(FIRST)
    write(one, SECOND)
    one.publish(7, 2)
    two.bring(7)
    assert read(two) == SECOND
    assert not (two.folder_of(7) / "rounds" / "000001").exists()
    assert objects(one) == digests(SECOND)
    assert two.published() == [7]
    two.remove(7)
    assert one.bucket.names("") == []


def test_what_did_not_change_is_neither_sent_nor_brought_again(machines, monkeypatch):
    one, two = machines
    write(one, FIRST)
    one.publish(7, 2)
    two.bring(7)
    write(one, SECOND)
    sent, got = [], []
    monkeypatch.setattr(one.bucket, "put", lambda files, put=one.bucket.put: (sent.extend(files), put(files)))
    monkeypatch.setattr(two.bucket, "get", lambda files, get=two.bucket.get: (got.extend(files), get(files)))
    one.publish(7, 2)
    two.bring(7)
    two.bring(7)
    assert sorted(path.relative_to(one.folder_of(7)).as_posix() for path, _ in sent) == [
        "dataset.json",
        "rounds/000002/a",
    ]
    assert len(got) == 3, "of two names of one object each is brought"
    assert read(two) == SECOND


def test_a_lost_file_is_brought_again_and_an_unpublished_one_stays(machines):
    one, two = machines
    write(one, FIRST)
    one.publish(7, 2)
    write(one, FIRST | {"rounds/000002/a": "not yet published"})
    one.bring(7)
    assert read(one)["rounds/000002/a"] == "not yet published"
    two.bring(7)
    (two.folder_of(7) / "dataset.json").unlink()
    two.bring(7)
    assert read(two) == FIRST


def test_what_another_has_published_since_takes_the_place_of_what_was_never(machines):
    """As where a trainer is lost after a checkpoint that the database does not name, and another goes on."""
    one, two = machines
    write(one, FIRST)
    one.publish(7, trainers_epoch(1))
    write(one, FIRST | {"rounds/000002/a": "of the lost trainer"})
    two.bring(7)
    write(two, SECOND)
    two.publish(7, trainers_epoch(2))
    one.bring(7)
    assert read(one) == SECOND


def test_a_damaged_object_is_refused_by_name_and_the_folder_stays(machines):
    one, two = machines
    write(one, FIRST)
    one.publish(7, 2)
    two.bring(7)
    write(one, SECOND)
    one.publish(7, 2)
    (name,) = digests({"": "2 a"})
    two.bucket.write(f"jobs/7/objects/{name}", {"not": "that"})
    with pytest.raises(
        CheckpointError, match=rf"jobs/7/objects/{name} is damaged.*published as rounds/000002/a of job 7"
    ):
        two.bring(7)
    assert read(two) == FIRST
    two.bucket.remove([f"jobs/7/objects/{name}"])
    with pytest.raises(CheckpointError, match=f"{name} is missing, which was published as rounds/000002/a of job 7"):
        two.bring(7)
    assert read(two) == FIRST


@pytest.mark.parametrize(
    "content",
    [b"no json", b"[]", b'{"format": 1, "epoch": 2, "files": {"../x": ["' + b"a" * 64 + b'", 1]}}', b'{"format": 2}'],
)
def test_a_damaged_manifest_is_refused(content):
    with pytest.raises(ValueError):  # noqa: PT011 -- the message is the parser's
        Manifest.of(content)


def test_a_manifest_that_cannot_be_read_is_named(machines):
    one, _ = machines
    write(one, FIRST)
    one.publish(7, 2)
    one.bucket.write("jobs/7/manifests/0000000002", {"format": 2})
    with pytest.raises(CheckpointError, match=r"jobs/7/manifests/0000000002 is damaged .*format is 2"):
        one.bring(7)


def test_a_trainer_whose_job_another_has_taken_over_changes_nothing(machines):
    one, two = machines
    write(one, FIRST)
    one.publish(7, trainers_epoch(1))
    two.bring(7)
    write(two, SECOND)
    two.publish(7, trainers_epoch(2))
    write(one, FIRST | {"rounds/000003/a": "late"})
    with pytest.raises(LeaseLostError, match="job 7: another process has published it since"):
        one.publish(7, trainers_epoch(1))
    one.bucket.write("jobs/7/manifests/0000000002", Manifest(2, {}).to_json())  # on its way since before
    one.bring(7)
    assert read(one) == SECOND
    two.publish(7, erasers_epoch(2), thoroughly=True)
    assert two.bucket.names("jobs/7/manifests") == ["jobs/7/manifests/0000000005"]


def test_who_may_no_longer_write_publishes_nothing(machines):
    one, two = machines
    write(one, FIRST)
    one.publish(7, 2)
    write(one, SECOND)

    def lost() -> None:
        raise LeaseLostError("the lease has run out")

    with pytest.raises(LeaseLostError, match="run out"):
        one.publish(7, 2, lost)
    two.bring(7)
    assert read(two) == FIRST


def test_what_a_process_holds_is_not_brought_over_it(machines, monkeypatch):
    one, two = machines
    beside = Runs(one.data_dir, one.bucket)  # another process of the same machine
    write(one, FIRST)
    one.publish(7, 2)
    write(two, SECOND)
    two.publish(7, 4)
    write(one, FIRST)
    with beside.holding(7):
        assert read(one) == SECOND, "who holds it has what the bucket has"
        write(beside, FIRST)
        two.publish(7, 6)
        assert not one.bring(7)
        assert read(one) == FIRST
        monkeypatch.setattr(of_runs, "PATIENCE", 0.0)
        with pytest.raises(CheckpointError, match="is held by a trainer of this machine"), one.alone(7):
            raise AssertionError("never held")
    assert one.bring(7)
    assert read(one) == SECOND


def test_without_a_bucket_nothing_is_asked_and_nothing_made(tmp_path):
    runs = Runs(tmp_path)
    assert runs.bring(7)
    with runs.holding(7), runs.alone(7):
        runs.publish(7, 2)
    runs.check()
    runs.remove(7)
    runs.drop_unpublished(7)
    assert runs.published() == []
    assert runs.brought(7) == runs.at_hand(7) == tmp_path / "jobs" / "7"
    assert list(tmp_path.iterdir()) == []


def test_where_the_bucket_is_away_what_is_here_is_read(machines, monkeypatch, caplog):
    one, two = machines
    write(one, FIRST)
    one.publish(7, 2)

    def away(folder: str) -> list[str]:
        raise BucketError("the bucket is away")

    for runs in machines:
        monkeypatch.setattr(runs.bucket, "names", away)
    assert one.brought(7) == one.folder_of(7)
    assert "job 7 is read as it is here: the bucket is away" in caplog.text
    with pytest.raises(BucketError):
        two.brought(7)


@pytest.mark.parametrize("step", range(1, 7))
def test_a_kill_between_two_steps_publishes_all_or_nothing_and_the_next_run_mends_it(step, s3, tmp_path):
    """Two files are put, then the manifest, then the old objects and the old manifest are removed: six steps."""
    url = s3()
    one, two = Runs(tmp_path / "one", Bucket(url)), Runs(tmp_path / "two", Bucket(url))
    write(one, FIRST)
    one.publish(7, 2)
    write(one, SECOND)
    command = [sys.executable, str(HERE / "killed_publisher.py"), url, str(tmp_path / "one"), str(step)]
    killed = subprocess.run(command, check=False)
    assert killed.returncode == -signal.SIGKILL
    two.bring(7)
    assert read(two) == (FIRST if step <= 3 else SECOND)
    one.publish(7, 6, thoroughly=True)
    two.bring(7)
    assert read(two) == SECOND
    assert objects(one) == digests(SECOND)
    assert one.bucket.names("jobs/7/manifests") == ["jobs/7/manifests/0000000006"]


@pytest.mark.parametrize("by", ["an erasure", "itself"])
def test_an_object_that_the_bucket_lost_is_put_back_by_who_has_it(machines, by):
    one, two = machines
    write(one, FIRST)
    one.publish(7, 2)
    (lost,) = digests({"": FIRST["dataset.json"]})
    one.bucket.remove([f"jobs/7/objects/{lost}"])
    with pytest.raises(CheckpointError, match=r"is missing.*start a trainer or an API on a machine whose folder has"):
        two.bring(7)
    assert two.put_back(7), "nothing is here that could be"
    if by == "itself":
        assert one.put_back(7)
    else:
        one.publish(7, 3, thoroughly=True)
    two.bring(7)
    assert read(two) == FIRST
    assert objects(one) == digests(FIRST)


def test_what_was_put_back_while_another_erased_is_removed_again(machines, monkeypatch):
    one, two = machines
    write(one, FIRST)
    one.publish(7, 2)
    two.bring(7)
    (lost,) = digests({"": FIRST["dataset.json"]})
    one.bucket.remove([f"jobs/7/objects/{lost}"])
    put = one.bucket.put

    def late(files):
        write(two, SECOND)
        two.publish(7, 3, thoroughly=True)
        put(files)

    monkeypatch.setattr(one.bucket, "put", late)
    one.put_back(7)
    assert objects(two) == digests(SECOND)
