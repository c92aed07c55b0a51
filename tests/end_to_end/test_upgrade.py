"""An installation that an earlier FedMem left, kept beside the migrations: upgraded, it serves and trains on.

It holds a data set of which a user was deleted, a job that has ended with its model in service, and one that waits to
go on from it. A release whose tables change adds its own, named by the revision that it was at.
"""

import tarfile
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import migrations
from backend.app import create_app
from fedmem.storage.catalogue import CatalogueStore
from tests.backend.conftest import World, settings_of, wait_for_model
from tests.cli.conftest import called
from tests.end_to_end.products import Product

KEPT = sorted((Path(__file__).resolve().parents[1] / "migrations" / "kept").glob("revision-*.tar.xz"))


@pytest.mark.parametrize("archive", KEPT, ids=lambda path: path.name.partition(".")[0])
def test_what_an_earlier_version_left_serves_and_trains_on(tmp_path, archive):
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    product = Product(f"sqlite:///{tmp_path / 'fedmem.db'}", tmp_path / "data")
    before = archive.name.removeprefix("revision-").partition(".")[0]
    refused = called("jobs", "list", "--database-url", product.url)
    assert (refused.code, "fedmem db upgrade" in refused.err) == (2, True)
    upgraded = called("db", "upgrade", "--database-url", product.url)
    assert f"is upgraded from {before} to {migrations.head()}" in upgraded.err
    with TestClient(create_app(settings_of(World(tmp_path / "fedmem.db", product.data_dir)))) as client:
        wait_for_model(client)
        answer = client.get("/recommend/u01?k=3&explain=true").json()
        assert (answer["strategy"], answer["model_version"], len(answer["items"])) == ("model", "job-1-round-6", 3)
        assert client.get("/recommend/u11?strict=true").status_code == 404, "a deleted user stays deleted"
    product.write("tiny", "m", "Film")
    assert "u11" not in {row.user_id for row in CatalogueStore(product.engine).users("tiny", limit=100)}
    said = product.train()
    job = product.jobs.get(2)
    assert (job.state, job.round, job.start_from) == ("succeeded", 10, 1), said
    product.engine.dispose()
