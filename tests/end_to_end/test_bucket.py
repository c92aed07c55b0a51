"""Two machines with a data folder each: one database, one bucket of a real server, and what one has the other gets."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from backend.settings import Settings
from fedmem.backup.making import back_up
from fedmem.bucket import Bucket, Runs
from fedmem.storage.job_removal import JobRemoval
from tests.end_to_end.products import Product
from tests.s3 import contents
from tests.waiting import until

HIDDEN = "u03"


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
def machines(s3: Callable[[], str], tmp_path: Path):
    one = replace(Product.made(tmp_path / "one"), bucket=s3())
    two = replace(one, data_dir=tmp_path / "two" / "data")
    yield Machines(one, two)
    for product in (one, two):
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
    from tests.end_to_end.test_kill import uninterrupted

    one, two = machines.one, machines.two
    job = one.queue()
    process = one.start(str(Path(__file__).parent / "killed_trainer.py"), "before the commit", "5")
    output, _ = process.communicate(timeout=180)
    assert process.returncode == -9, output
    machines.lose(one)
    one.let_lease_end(job.id)
    said = two.train()
    assert "going on from round " in said
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
        assert any(held in content for content in machines.bucket.values())
        assert served.delete(f"/users/{HIDDEN}").status_code == 204
        assert not any(held in content for content in machines.bucket.values())
        until(
            lambda: not any(held in content for content in files(one.directory(job.id).path).values()),
            "the other machine's copy",
        )
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


def test_files_that_were_there_before_the_bucket_get_into_it(machines):
    before = replace(machines.one, bucket="")
    job = before.queue()
    before.train()
    assert machines.bucket == {}
    machines.one.train()
    assert set(machines.bucket.values()) >= set(files(before.directory(job.id).path).values())


def test_a_backup_has_what_only_the_bucket_has(machines, tmp_path):
    one, two = machines.one, machines.two
    job = one.queue()
    one.train()
    expected = files(one.directory(job.id).path)
    back_up(two.engine, two.data_dir, tmp_path / "backup", bring=Runs.at(two.data_dir, two.bucket).bring_all)
    found = files(tmp_path / "backup" / "data" / "jobs" / str(job.id))
    kept = {name: content for name, content in expected.items() if name in found}
    assert found == kept
    assert {name for name in expected if name not in found} <= {"rounds"}
