"""A store of jobs on a migrated database with one data set, on SQLite and on PostgreSQL."""

import pytest

from fedmem.storage.jobs import JobStore
from tests.clock import Clock
from tests.storage.builders import add_dataset


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(engine, clock):
    add_dataset(engine)
    return JobStore(engine, clock)
