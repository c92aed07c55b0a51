"""``fedmem backup`` and ``fedmem restore`` in words: what they make, and what is wrong with what they are given."""

import json
import os
import shutil
from pathlib import Path

import pytest

from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns, ItemRow
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore, RoundResult
from tests.databases import migrated_bytes


@pytest.fixture
def place(tmp_path) -> Path:
    """A database with a picture below the data folder, and files of both kinds."""
    (tmp_path / "fedmem.db").write_bytes(migrated_bytes())
    data = tmp_path / "data"
    for name in ("jobs/1/rounds/000001", "demo", "logs", "uploads"):
        (data / name).mkdir(parents=True)
    for name in (
        "jobs/1/manifest.json",
        "jobs/1/rounds/.gone-000002",
        "demo/cover.png",
        "logs/trainer.log",
        "uploads/a.csv",
    ):
        (data / name).write_text(name)
    engine = connect(f"sqlite:///{tmp_path / 'fedmem.db'}")
    pictures = [ItemRow("a", "A", image_path=str(data / "demo/cover.png")), ItemRow("b", "B", image_path="/else/b.png")]
    CatalogueStore(engine).write("films", "test", InteractionColumns(["u"], ["a"], [1.0]), pictures)
    jobs = JobStore(engine)
    jobs.create(kind="training", dataset="films", config={}, num_rounds=1)
    _, lease = jobs.claim("trainer", 60, 3)
    jobs.commit_round(lease, RoundResult(0, False, None, {}))
    engine.dispose()
    return tmp_path


def options(folder: Path, data: str = "data") -> list[object]:
    return ["--database-url", f"sqlite:///{folder / 'fedmem.db'}", "--data-dir", folder / data]


@pytest.fixture
def backup(fedmem, place) -> Path:
    outcome = fedmem("backup", place / "backup", *options(place))
    assert outcome.code == 0, outcome.err
    assert "holds 3 files" in outcome.err
    return place / "backup"


def test_what_is_restored_is_what_was_there(fedmem, place, backup):
    outcome = fedmem("restore", backup, *options(place / "elsewhere"))
    assert outcome.code == 0, outcome.err
    assert "restored as it was on" in outcome.err
    restored = place / "elsewhere" / "data"
    assert sorted(str(path.relative_to(restored)) for path in restored.rglob("*") if path.is_file()) == [
        "demo/cover.png",
        "jobs/1/manifest.json",
    ]
    engine = connect(f"sqlite:///{place / 'elsewhere' / 'fedmem.db'}")
    pictures = [CatalogueStore(engine).item("films", name).image_path for name in ("a", "b")]
    engine.dispose()
    assert pictures == [str(restored / "demo/cover.png"), "/else/b.png"], "pictures follow the data folder"
    assert (restored / "jobs/1/manifest.json").stat().st_nlink == 1, "nothing is shared with the backup"


def test_what_is_never_rewritten_takes_no_more_room(backup):
    assert (backup / "data/jobs/1/manifest.json").stat().st_nlink == 2
    assert (backup / "data/demo/cover.png").stat().st_nlink == 1


def test_where_there_can_be_no_links_files_are_copied(fedmem, place, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert fedmem("backup", place / "other", *options(place)).code == 0
    assert (place / "other/data/jobs/1/manifest.json").read_text() == "jobs/1/manifest.json"


def test_a_backup_is_its_users_alone(backup):
    assert {path.stat().st_mode & 0o077 for path in (backup, *backup.glob("*")) if path.name != "data"} == {0}


@pytest.mark.parametrize("name", ["database.sqlite", "data/demo/cover.png"])
@pytest.mark.parametrize("wrong", ["changed", "missing"])
def test_a_damaged_backup_is_found_before_anything_is_written(fedmem, place, backup, name, wrong):
    if wrong == "missing":
        (backup / name).unlink()
    else:
        content = bytearray((backup / name).read_bytes())
        content[-1] ^= 1
        (backup / name).write_bytes(content)
    outcome = fedmem("restore", backup, *options(place / "elsewhere"))
    assert outcome.code == 2
    assert str(backup / name) in outcome.err
    assert not (place / "elsewhere").exists()


def manifest(backup: Path, **changed: object) -> None:
    path = backup / "backup.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": 2}, "is of another format than 1"),
        ({"files": {"../fedmem.db": [1, "x"]}}, "names a file outside of the backup"),
        ({"files": 3}, "cannot be read"),
        ({"revision": "9999"}, "is of a newer FedMem (its database is at 9999)"),
        ({"database": "postgresql"}, "is of a postgresql database, which cannot be restored into sqlite"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_one_error(fedmem, place, backup, changed, said):
    manifest(backup, **changed)
    outcome = fedmem("restore", backup, *options(place / "elsewhere"))
    assert (outcome.code, said in outcome.err, len(outcome.err.splitlines())) == (2, True, 1), outcome.err
    assert not (place / "elsewhere").exists()


def test_what_is_in_the_way_is_named(fedmem, place, backup):
    outcome = fedmem("backup", backup, *options(place))
    assert (outcome.code, f"{backup} is there already" in outcome.err) == (2, True)
    outcome = fedmem("backup", place / "data" / "backup", *options(place))
    assert (outcome.code, "is in the data folder" in outcome.err) == (2, True)
    outcome = fedmem("restore", backup, *options(place))
    assert (outcome.code, "fedmem.db is there" in outcome.err) == (2, True)
    (place / "fedmem.db").unlink()
    outcome = fedmem("restore", backup, *options(place))
    assert (outcome.code, "is not empty" in outcome.err) == (2, True)
    outcome = fedmem("restore", place / "data", *options(place))
    assert (outcome.code, "is no backup" in outcome.err) == (2, True)
    shutil.rmtree(place / "data")
    assert fedmem("restore", backup, *options(place)).code == 0
