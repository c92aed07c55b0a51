"""Whether a trainer lives, as a container's health check asks."""

import socket
import time

import pytest

import migrations
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore
from trainer.health import main, silence_of


@pytest.fixture
def url(tmp_path, monkeypatch) -> str:
    url = f"sqlite:///{tmp_path}/fedmem.db"
    monkeypatch.setenv("DATABASE_URL", url)
    return url


@pytest.fixture
def engine(url):
    migrations.upgrade(url)
    engine = connect(url)
    yield engine
    engine.dispose()


def trainers_seen(engine, *workers: tuple[str, float]) -> JobStore:
    for worker, seconds_ago in workers:
        JobStore(engine, clock=lambda ago=seconds_ago: time.time() - ago).seen(worker, None)
    return JobStore(engine)


def test_a_trainer_of_this_host_that_was_heard_of_lately_lives(engine):
    host = socket.gethostname()
    trainers_seen(engine, (f"{host}:1:dead", 500), (f"{host}:2:cafe", 10))
    assert main() == 0


def test_a_trainer_that_is_silent_does_not_pass(engine, capsys):
    trainers_seen(engine, (f"{socket.gethostname()}:1:dead", 45))
    assert main() == 1
    assert "in the last 45 seconds" in capsys.readouterr().err


def test_a_trainer_that_died_before_the_clock_was_set_back_does_not_pass(engine, capsys):
    trainers_seen(engine, (f"{socket.gethostname()}:1:dead", -3600))
    assert main() == 1
    assert "no trainer of this host was heard of" in capsys.readouterr().err


def test_a_long_lease_may_be_silent_for_longer(engine, monkeypatch):
    monkeypatch.setenv("FEDMEM_LEASE_SECONDS", "100")
    trainers_seen(engine, (f"{socket.gethostname()}:1:dead", 45))
    assert main() == 0


def test_trainers_of_other_hosts_do_not_count(engine):
    jobs = trainers_seen(engine, ("host:1:aaaa", 20), ("host-2:1:bbbb", 1))
    assert silence_of(jobs, "host") == pytest.approx(20, abs=1)
    assert silence_of(jobs, "hos") == float("inf")


def test_a_trainer_that_has_ended_does_not_pass(engine):
    worker = f"{socket.gethostname()}:1:dead"
    trainers_seen(engine, (worker, 1)).leave(worker)
    assert main() == 1


def test_a_database_without_tables_is_named(url, capsys):
    assert main() == 1
    assert "fedmem db upgrade" in capsys.readouterr().err
