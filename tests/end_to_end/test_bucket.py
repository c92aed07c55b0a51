"""Two machines with a data folder each: one PostgreSQL, one bucket of a server, and what one has the other gets."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import Mock

import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from backend.eraser import Eraser
from backend.settings import Settings
from fedmem.backup.making import back_up
from fedmem.bucket import Bucket, Runs
from fedmem.continuation import carried_over
from fedmem.data.vocabulary import ERASED
from fedmem.errors import BucketError, CheckpointError
from fedmem.serving import read_leaks
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns
from fedmem.storage.erasures import ErasureStore
from fedmem.storage.followed_runs import FollowedRuns
from fedmem.storage.job_removal import JobRemoval
from tests.cli.conftest import called
from tests.end_to_end.products import ROUNDS, Product
from tests.end_to_end.test_kill import uninterrupted
from tests.s3 import contents
from tests.tiny import tiny_config
from tests.waiting import PATIENCE, until, until_it_says
from trainer import job_snapshot
from trainer.job_recorder import JobRecorder
from trainer.job_snapshot import MissingFolderError
from trainer.run_experiment import JobRun

HIDDEN = "u03"


class Killed(BaseException):
    """Ends a trainer of this process at once."""


@dataclass(frozen=True)
class Machines:
    """Two of them, with one bucket."""

    one: Product
    two: Product

    @property
    def bucket(self) -> dict[str, bytes]:
        """All that is in it, asked for without the product."""
        return contents(self.one.bucket)

    def lose(self, product: Product) -> None:
        """Let a machine's disk be gone."""
        shutil.rmtree(product.data_dir)


@pytest.fixture
def machines(s3: Callable[[], str], postgresql_url: str, tmp_path: Path) -> Iterator[Machines]:
    made = Product.made(tmp_path / "one", postgresql_url)
    one = replace(made, bucket=s3())
    two = replace(one, data_dir=tmp_path / "two" / "data")
    yield Machines(one, two)
    for product in (made, one, two):
        product.engine.dispose()


def backend_of(product: Product) -> TestClient:
    return TestClient(
        create_app(
            Settings(
                _env_file=None,
                refresh_seconds=0.05,
                database_url=product.url,
                data_dir=product.data_dir,
                bucket=product.bucket,
                allowed_hosts="testserver",
            )
        )
    )


def files(folder: Path) -> dict[str, bytes]:
    """What is in a folder, but for working files."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_what_one_machine_trained_the_other_serves_until_it_is_removed(machines):
    one, two = machines.one, machines.two
    job = one.queue()
    one.train()
    folder = one.directory(job.id).path
    assert {f"fedmem/jobs/{job.id}/objects/"} == {name[: name.rindex("/") + 1] for name in machines.bucket} - {
        f"fedmem/jobs/{job.id}/manifests/"
    }
    with backend_of(two) as served:
        until(lambda: served.get("/health/ready").status_code == 200, "the model")
        assert served.get("/recommend/u01").json()["model_version"].startswith(f"job-{job.id}-")
        assert served.get("/memory/transitions/growth?item_id=m01").status_code == 200
        assert files(two.directory(job.id).path) == files(folder)

        newer = two.queue({"seed": 7}, promotion="auto")
        two.train()  # the gate and the data are of one database
        until(lambda: f"job-{newer.id}-" in served.get("/recommend/u01").json()["model_version"], "the newer model")
        removal = JobRemoval(one.engine, Runs(one.data_dir, Bucket(one.bucket)))
        removal.remove(job.id, "a test")
        assert not [name for name in machines.bucket if name.startswith(f"fedmem/jobs/{job.id}/")]
        assert [name for name in machines.bucket if name.startswith(f"fedmem/jobs/{newer.id}/")]
        until(lambda: not two.directory(job.id).path.exists(), "the copy to go")


def test_a_trainer_goes_on_elsewhere_where_the_first_one_and_its_disk_are_lost(machines):
    one, two = machines.one, machines.two
    job = one.queue()
    process = one.start(str(Path(__file__).parent / "killed_trainer.py"), "after the commit", "5")
    output, _ = process.communicate(timeout=180)
    assert process.returncode == -9, output
    machines.lose(one)
    one.let_lease_end(job.id)
    said = two.train()
    assert "going on from round 4" in said
    found = two.outcome(job.id)
    assert found == uninterrupted(two.data_dir.parent / "alone")
    assert found["state"] == "succeeded"


def test_a_deleted_user_is_nowhere_in_the_bucket_nor_on_the_other_machine(machines):
    one, two = machines.one, machines.two
    job = one.queue()
    one.train()
    with backend_of(two) as served, backend_of(one) as other:
        for each in (served, other):
            until(lambda each=each: each.get("/health/ready").status_code == 200, "a model")
        held = f'"{HIDDEN}"'.encode()
        before = files(one.directory(job.id).path)
        kept = [one.data_dir / "preferences" / "a text", one.data_dir / "uploads" / "1" / "table"]
        trainer = one.start("-m", "trainer")
        until_it_says(trainer.stdout, "waits for jobs")
        for path in kept:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(HIDDEN)
        assert any(held in content for content in machines.bucket.values())
        assert served.delete(f"/users/{HIDDEN}").status_code == 204
        assert not any(held in content for content in machines.bucket.values())
        until(
            lambda: not any(held in content for content in files(one.directory(job.id).path).values()),
            "the other machine's copy",
        )
        until(lambda: not any(path.exists() for path in kept), "what else the other machine has")
        trainer.terminate()
        assert trainer.wait() == 0
        now = files(one.directory(job.id).path)
        assert now == files(two.directory(job.id).path)
        changed = {name for name, content in before.items() if now[name] != content}
        assert {"dataset.json", "dataset.safetensors"} <= changed
        assert any(name.endswith("transitions.safetensors") for name in changed)
        left = set(machines.bucket.values())
        assert not left & {before[name] for name in changed}, "no object is what a file was before"
        assert set(now.values()) <= left
        for each in (served, other):
            until(lambda each=each: each.get(f"/recommend/{HIDDEN}").json()["strategy"] != "model", "no such user")


@pytest.fixture
def back(machines: Machines, s3: Callable[[], str]) -> Iterator[Product]:
    """The first machine with another bucket, in which nothing is."""
    product = replace(machines.one, bucket=s3())
    yield product
    product.engine.dispose()


def come_back_as_a_trainer(one: Product, job_id: int) -> None:
    one.train()


def come_back_as_an_api(one: Product, job_id: int) -> None:
    with backend_of(one):
        until(lambda: Runs.at(one.data_dir, one.bucket).published() == [job_id], "the copy in the bucket")


def come_back_with_a_deletion(one: Product, job_id: int) -> None:
    catalogue = CatalogueStore(one.engine)
    catalogue.delete_user("tiny", "u07")
    Eraser(ErasureStore(one.engine), catalogue, Runs.at(one.data_dir, one.bucket)).erase("u07")
    assert not any(b'"u07"' in content for content in contents(one.bucket).values())


@pytest.mark.parametrize("come_back", [come_back_as_a_trainer, come_back_as_an_api, come_back_with_a_deletion])
def test_a_machine_that_was_away_brings_no_deleted_user_into_another_bucket(machines, back, come_back):
    one, two = machines.one, machines.two
    job = one.queue()
    one.train()
    delete_elsewhere(two)
    catalogue = CatalogueStore(one.engine)
    catalogue.readmit_user("tiny", HIDDEN)  # and another by the same id is in the database
    catalogue.write("tiny", "again", InteractionColumns([HIDDEN], ["m01"], [0.0]), [])
    held = f'"{HIDDEN}"'.encode()
    before = files(one.directory(job.id).path)
    assert held in before["dataset.json"]
    come_back(back, job.id)
    now, there = files(back.directory(job.id).path), contents(back.bucket)
    assert set(now.values()) <= set(there.values())
    assert not any(held in content for content in there.values())
    changed = {name for name, content in before.items() if now[name] != content}
    assert {"dataset.json", "dataset.safetensors"} <= changed
    assert any(name.endswith("transitions.safetensors") for name in changed)
    assert not set(there.values()) & {before[name] for name in changed}
    if come_back is not come_back_with_a_deletion:
        assert now == files(two.directory(job.id).path)


def delete_elsewhere(two: Product) -> None:
    """Delete a user on a machine whose bucket has everything, while the other is away."""
    catalogue = CatalogueStore(two.engine)
    catalogue.delete_user("tiny", HIDDEN)
    eraser = Eraser(ErasureStore(two.engine), catalogue, Runs.at(two.data_dir, two.bucket))
    eraser.erase(HIDDEN)
    assert eraser.erasures.pending() == []
    assert not any(f'"{HIDDEN}"'.encode() in content for content in contents(two.bucket).values())


@pytest.mark.parametrize("goes_on", ["the job", "its successor"])
def test_a_job_that_goes_on_after_an_absence_brings_no_deleted_user_into_another_bucket(machines, back, goes_on):
    """Its trainer may be quicker than what publishes the copies of jobs at rest."""
    one, two = machines.one, machines.two
    job = one.queue()
    with pytest.MonkeyPatch.context() as patch:
        if goes_on == "the job":
            patch.setattr(JobRecorder, "_remove_old", lambda self: self._control._shutdown.ask())
        one.train()
    delete_elsewhere(two)
    last = job
    if goes_on != "the job":
        last = back.queue({"federated": {"num_rounds": ROUNDS + 2}}, start_from=job.id, snapshot="same")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FollowedRuns, "_publish_others", lambda self: None)
        back.train()
    assert back.jobs.get(last.id).state == "succeeded", back.jobs.get(last.id).message
    there = contents(back.bucket)
    assert any(name.startswith(f"fedmem/jobs/{last.id}/manifests/") for name in there)
    assert not any(f'"{HIDDEN}"'.encode() in content for content in there.values())
    checkpoint = back.directory(last.id).checkpoints.read(back.jobs.get(last.id).round)
    dataset = back.directory(last.id).read_dataset()
    (erased,) = [user for user, name in enumerate(dataset.vocabulary.users) if name.startswith(ERASED)]
    assert len(checkpoint.memories.get(erased, ())) == 0


def test_a_model_that_goes_on_with_newest_data_takes_nothing_of_whom_others_deleted(machines, back):
    """By whose id another is in the data."""
    one, told = machines.one, []
    job = one.queue()
    one.train()
    delete_elsewhere(machines.two)
    CatalogueStore(one.engine).readmit_user("tiny", HIDDEN)
    one.write("tiny", "m", "Film")
    newer = back.queue({"federated": {"num_rounds": ROUNDS + 2}}, start_from=job.id, snapshot="newest")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FollowedRuns, "_publish_others", lambda self: None)
        patch.setattr(job_snapshot, "carried_over", lambda *args: (told.append(args[-1]), carried_over(*args))[1])
        back.train()
    assert told == [{HIDDEN}]
    assert HIDDEN in back.directory(newer.id).read_dataset().vocabulary.users


def test_files_that_were_there_before_the_bucket_get_into_it(machines):
    before = replace(machines.one, bucket="")
    job = before.queue()
    before.train()
    before.engine.dispose()
    assert machines.bucket == {}
    machines.one.train()
    assert set(machines.bucket.values()) >= set(files(before.directory(job.id).path).values())


def test_a_backup_has_what_only_the_bucket_has(tmp_path):
    one = replace(Product.made(tmp_path / "here"), bucket=f"memory://{tmp_path.name}/backup")
    two = replace(one, data_dir=tmp_path / "two")
    job = one.queue()
    one.train()
    expected = files(one.directory(job.id).path)
    back_up(two.engine, two.data_dir, tmp_path / "backup", bring=Runs.at(two.data_dir, two.bucket).bring_all)
    found = files(tmp_path / "backup" / "data" / "jobs" / str(job.id))
    kept = {name: content for name, content in expected.items() if name in found}
    assert found == kept
    assert {name for name in expected if name not in found} <= {"rounds"}


def test_a_job_waits_for_a_bucket_that_is_away_and_goes_on_by_itself(tmp_path, monkeypatch):
    made = replace(Product.made(tmp_path / "here"), bucket=f"memory://{tmp_path.name}/waits")
    job, put, times = made.queue(), Bucket.put, []

    def refuse_once(self, found):
        times.append(len(found))
        if len(times) == 3:
            raise BucketError("the bucket is away")
        put(self, found)

    monkeypatch.setattr(Bucket, "put", refuse_once)
    said = made.train()
    assert "waiting, and going on by itself once that is over: the bucket is away" in said
    assert "going on from round " in said
    assert made.outcome(job.id) == uninterrupted(tmp_path / "alone")


def test_a_damaged_file_lets_a_job_wait_for_its_user_by_name(tmp_path):
    one = replace(Product.made(tmp_path / "here"), bucket=f"memory://{tmp_path.name}/damaged")
    job = one.queue()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobRecorder, "_remove_old", lambda self: self._control._shutdown.ask())
        one.train()
    assert one.jobs.get(job.id).state == "queued"
    bucket = Bucket(one.bucket)
    for name in bucket.names(f"jobs/{job.id}/objects"):
        bucket.write(name, {})
    two = replace(one, data_dir=tmp_path / "two")
    two.train()
    found = two.jobs.get(job.id)
    assert found.state == "paused"
    assert re.search(rf"objects/\w+ is damaged: .* of job {job.id} .*then resume job {job.id}", found.message)


def test_what_was_never_published_of_a_job_without_rounds_is_taken_anew(tmp_path, monkeypatch):
    """Another machine, which saw neither folder nor bucket, has taken its deleted users for erased."""
    one = replace(Product.made(tmp_path / "here"), bucket=f"memory://{tmp_path.name}/unpublished")
    job = one.queue()
    with monkeypatch.context() as patch:
        patch.setattr(Runs, "publish", Mock(side_effect=Killed))
        with pytest.raises(Killed):
            one.train()
    assert one.directory(job.id).exists
    assert Bucket(one.bucket).names("") == []
    one.let_lease_end(job.id)
    CatalogueStore(one.engine).delete_user("tiny", HIDDEN)
    erasures = ErasureStore(one.engine)
    for erasure in erasures.of_job(job.id):
        erasures.done(erasure)
    one.train()
    assert one.jobs.get(job.id).state == "succeeded"
    assert HIDDEN not in one.directory(job.id).read_dataset().vocabulary.users


def test_no_user_counts_as_erased_from_files_that_another_machine_has_not_published(tmp_path):
    before = Product.made(tmp_path / "here")
    job = before.queue()
    before.train()
    elsewhere = Runs(tmp_path / "elsewhere", Bucket(f"memory://{tmp_path.name}/late"))
    erasures, catalogue = ErasureStore(before.engine), CatalogueStore(before.engine)
    catalogue.delete_user("tiny", HIDDEN)
    with pytest.raises(CheckpointError, match=r"its files are neither in memory://.* nor here"):
        Eraser(erasures, catalogue, elsewhere).erase(HIDDEN)
    assert [one.job_id for one in erasures.pending()] == [job.id]


def test_two_machines_erase_one_after_the_other(machines):
    """What the first is to publish it has read before the second's user was erased."""
    one, two = machines.one, machines.two
    one.queue()
    one.train()
    catalogue = CatalogueStore(one.engine)
    first, second = (
        Eraser(ErasureStore(each.engine), catalogue, Runs.at(each.data_dir, each.bucket)) for each in (one, two)
    )
    catalogue.delete_user("tiny", "u00")
    publish, others = first.runs.publish, []

    def meanwhile(*arguments: Any, **options: Any) -> None:
        catalogue.delete_user("tiny", "u01")
        others.append(Thread(target=second.erase, args=["u01"]))
        others[0].start()
        others[0].join(2.0)  # in which it would be done, if it did not wait
        publish(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first.runs, "publish", meanwhile)
        first.erase("u00")
    others[0].join(PATIENCE)
    assert first.erasures.pending() == []
    assert not any(user in content for content in machines.bucket.values() for user in (b'"u00"', b'"u01"'))
    for eraser in (first, second):
        eraser.runs.bring_all()
    assert files(one.data_dir / "jobs") == files(two.data_dir / "jobs")


def test_a_masked_run_over_nodes_goes_on_only_where_its_folder_is(tmp_path):
    config = tiny_config(engine="flower", flower={"minimum_nodes": 3}, secure_sums={"enabled": True})
    job, runs = Mock(id=7, round=3), Runs(tmp_path, Bucket(f"memory://{tmp_path.name}/masked"))
    run = JobRun(Mock(), runs, Mock(), job, Mock(), Mock())
    with pytest.raises(MissingFolderError, match="job 7 masks sums over nodes"), run._folder(config):
        pytest.fail("it went on")
    (runs.folder_of(7)).mkdir(parents=True)
    (runs.folder_of(7) / "manifest.json").write_text("{}")
    with run._folder(config):
        pass


def test_a_restore_takes_no_bucket_with_runs_in_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDMEM_BUCKET", f"memory://{tmp_path.name}/restored")
    runs = Runs(tmp_path / "one", Bucket(f"memory://{tmp_path.name}/restored"))
    runs.folder_of(1).mkdir(parents=True)
    (runs.folder_of(1) / "manifest.json").write_text("{}")
    runs.publish(1, 2)
    outcome = called("restore", tmp_path / "backup", "--data-dir", tmp_path / "two")
    assert outcome.code == 2
    assert "FEDMEM_BUCKET holds runs" in outcome.err


def test_what_attacks_found_out_is_in_the_bucket_too(machines, monkeypatch):
    one, two = machines.one, machines.two
    job = one.queue()
    one.train()
    for name, value in one.environment.items():
        monkeypatch.setenv(name, value)
    asked = ("audit", job.id, "--attacks", "--clients", 3, "--cohort", 2, "--data-dir", one.data_dir)
    outcome = called(*asked, "--database-url", one.url)
    assert outcome.code == 0, outcome.err
    runs = Runs.at(two.data_dir, two.bucket)
    assert read_leaks(runs.at_hand(job.id)) == read_leaks(one.directory(job.id).path) is not None
