"""Migrations are the only creator of tables, and create what the schema says."""

import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect

import migrations
from fedmem.errors import ConflictError, StorageError
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ItemRow
from fedmem.storage.engine import check_schema, connect, parse_url, schema_revision, writing
from fedmem.storage.models import ModelStore
from fedmem.storage.schema import REVISION, datasets, metadata
from tests.forks import Forked


def described(engine):
    """All that a database tells about its tables."""
    inspector = inspect(engine)
    tables = [name for name in sorted(inspector.get_table_names()) if name != "alembic_version"]
    return {
        name: {
            "columns": [{**c, "type": str(c["type"])} for c in inspector.get_columns(name)],
            "primary key": inspector.get_pk_constraint(name),
            "foreign keys": sorted(inspector.get_foreign_keys(name), key=lambda key: str(key["name"])),
            "unique": sorted(inspector.get_unique_constraints(name), key=lambda key: str(key["name"])),
            "checks": sorted(inspector.get_check_constraints(name), key=lambda check: str(check["name"])),
            "indexes": sorted(inspector.get_indexes(name), key=lambda index: str(index["name"])),
        }
        for name in tables
    }


def test_upgrade_downgrade_upgrade(empty_url):
    engine = connect(empty_url)
    assert migrations.current(empty_url) is None
    migrations.upgrade(empty_url)
    first = described(engine)
    assert set(first) == set(metadata.tables)
    migrations.downgrade(empty_url)
    assert described(engine) == {}
    assert migrations.current(empty_url) is None
    migrations.upgrade(empty_url)
    assert described(engine) == first
    assert migrations.current(empty_url) == migrations.head() == REVISION
    engine.dispose()


def test_nothing_is_left_to_generate(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_migrated_database_is_the_schema_to_the_last_constraint(request, database_url, tmp_path):
    """The autogenerate diff sees no check constraint and no ON DELETE; the databases' own word does."""
    migrated = connect(database_url)
    if migrated.dialect.name == "sqlite":
        other = f"sqlite:///{tmp_path}/created.db"
    else:
        from tests.databases import empty_schema

        schema = empty_schema(request.getfixturevalue("postgresql_server"))
        request.addfinalizer(lambda: list(schema))
        other = next(schema)
    created = create_engine(parse_url(other))
    metadata.create_all(created)
    expected, found = described(created), described(migrated)
    created.dispose()
    migrated.dispose()
    assert found == expected


def test_autoincrement_is_kept_on_sqlite(sqlite_engine):
    with sqlite_engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'").all()
    assert {name for (name,) in rows} == {"interactions", "activations", "imports", "schedules", "ab_tests"}


def test_upgrading_again_changes_nothing(database_url):
    engine = connect(database_url)
    with writing(engine) as connection:
        connection.execute(datasets.insert().values(name="demo", source="x", imported_at=1.0))
    migrations.upgrade(database_url)
    with engine.connect() as connection:
        assert connection.execute(datasets.select()).one().name == "demo"
    engine.dispose()


def test_an_upgrade_keeps_the_catalogue_of_before(empty_url):
    migrations.upgrade(empty_url, "0002")
    engine = connect(empty_url)
    with writing(engine) as connection:
        for statement in (
            "INSERT INTO datasets (id, name, source, imported_at) VALUES (1, 'shop', 'x', 1.5)",
            "INSERT INTO items VALUES (1, 'a', 'Title', '[\"Drama\"]', 1990, NULL, 'Title (1990)', 2.5)",
            "INSERT INTO interactions (dataset_id, user_id, item_id, timestamp) VALUES (1, 'u', 'a', 3.5)",
        ):
            connection.exec_driver_sql(statement)
    migrations.upgrade(empty_url)
    store = CatalogueStore(engine)
    (row,) = store.datasets()
    assert (row.name, row.imported_at, row.users, row.items, row.interactions) == ("shop", 1.5, 1, 1, 1)
    assert store.item("shop", "a") == ItemRow("a", "Title", ("Drama",), 1990, None, "Title (1990)")
    (again,) = store.since("shop", 0)
    assert (again.user_id, again.item_id, again.timestamp) == ("u", "a", 3.5)
    store.delete_user("shop", "u")
    store.put_item("shop", ItemRow("a", "Another"))
    migrations.downgrade(empty_url, "0002")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT title, changed_at > 2.5 FROM items").one() == ("Another", True)
    engine.dispose()


def test_an_upgrade_gives_each_data_set_its_model_back_and_a_way_to_the_one_before(empty_url):
    """Until then one model served at a time, whatever its data set: here shop's, music's, and shop's second."""
    migrations.upgrade(empty_url, "0005")
    engine = connect(empty_url)
    job = "INSERT INTO jobs (id, kind, dataset_id, config, state, desired_state, created_at, token, attempts, "
    job += "attempts_without_progress, round, num_rounds, clients_done, clients_selected, request_digest) VALUES "
    with writing(engine) as connection:
        for number, name in ((1, "shop"), (2, "music")):
            connection.exec_driver_sql(
                "INSERT INTO datasets (id, name, source, imported_at, items_version) "
                f"VALUES ({number}, '{name}', '', 1, 0)"
            )
        for number, dataset in ((1, 1), (2, 2), (3, 1)):
            values = f"({number}, 'training', {dataset}, '{{}}', 'succeeded', 'running', 1, 1, 1, 0, 2, 2, 0, 0, '')"
            connection.exec_driver_sql(job + values)
            connection.exec_driver_sql(f"INSERT INTO rounds VALUES ({number}, 2, 1, 1, true, '000002')")
            connection.exec_driver_sql(f"INSERT INTO models VALUES ('m{number}', {number}, 2, {number})")
            connection.exec_driver_sql(
                f"INSERT INTO activations (version, activated_at, reason) VALUES ('m{number}', {number}, 'then')"
            )
    migrations.upgrade(empty_url)
    models = ModelStore(engine)
    assert [row.version for row in models.all_active()] == ["m3", "m2"]
    assert [(row.version, row.until) for row in models.history()] == [("m3", None), ("m2", None), ("m1", 3.0)]
    assert models.roll_back("shop", "back").version == "m1"
    with pytest.raises(ConflictError, match="served the data set 'music' before"):
        models.roll_back("music", "back")
    migrations.downgrade(empty_url, "0005")
    engine.dispose()


def test_a_database_of_a_newer_version_is_refused(empty_url):
    migrations.upgrade(empty_url)
    engine = connect(empty_url)
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageError, match="9999"):
        check_schema(engine)
    with pytest.raises(StorageError, match="newer FedMem"):
        migrations.upgrade(empty_url)
    engine.dispose()


def test_an_empty_database_is_told_from_a_migrated_one(empty_url):
    engine = connect(empty_url)
    assert schema_revision(engine) is None
    with pytest.raises(StorageError, match="run: fedmem db upgrade"):
        check_schema(engine)
    migrations.upgrade(empty_url)
    check_schema(engine)
    engine.dispose()


def test_a_failing_migration_leaves_nothing(empty_url, monkeypatch):
    from alembic import op

    create, made = op.create_table, []

    def fail_at_the_third(name, *args, **kwargs):
        made.append(name)
        if len(made) == 3:
            raise RuntimeError("power cut")
        return create(name, *args, **kwargs)

    monkeypatch.setattr(op, "create_table", fail_at_the_third)
    with pytest.raises(RuntimeError, match="power cut"):
        migrations.upgrade(empty_url)
    engine = connect(empty_url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


UPGRADES = "import sys, migrations; migrations.upgrade(sys.argv[1])"


def test_it_works_from_any_folder_and_says_nothing(empty_url, project_root, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", UPGRADES, empty_url],
        cwd=tmp_path,
        env={"PYTHONPATH": str(project_root), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert migrations.current(empty_url) == migrations.head()


def test_services_that_migrate_at_once_take_turns(empty_url, project_root):
    command = [sys.executable, "-c", UPGRADES, empty_url]
    started = [Forked(command, cwd=project_root, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[1] for process in started] == ["", "", ""]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert migrations.current(empty_url) == migrations.head()


def test_the_developers_command_agrees(sqlite_url, project_root, monkeypatch):
    """``alembic check`` by alembic.ini and DATABASE_URL, as a writer of migrations calls it."""
    migrations.upgrade(sqlite_url)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "check"], cwd=project_root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
