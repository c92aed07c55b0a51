"""Small jobs, rounds and a clock that stands still until it is told otherwise."""

from fedmem.storage.engine import writing
from fedmem.storage.jobs import RoundResult, StoredPrototypes
from fedmem.storage.schema import datasets, metadata

LEASE = 30.0
ATTEMPTS = 3


def add_dataset(engine, name="demo"):
    with writing(engine) as connection:
        connection.execute(datasets.insert().values(name=name, source="made up", imported_at=1.0))


def queue(store, **changes):
    """Queue a job and answer its number."""
    request = {"kind": "training", "dataset": "demo", "config": {"seed": 1}, "num_rounds": 10} | changes
    return store.create(**request)[0].id


def claim(store, worker="t1", lease_seconds=LEASE, max_attempts=ATTEMPTS):
    """Claim a job that must be there; its lease."""
    claimed = store.claim(worker, lease_seconds, max_attempts)
    assert claimed is not None
    return claimed[1]


def result(number, is_best=False, **changes):
    """What a small round leaves."""
    metrics = {"train": {"recommendation_loss": 0.5 / (number + 1)}, "validation": {"HR@10": 0.1 * number}}
    values = {"metrics": metrics, "prototypes": None, "checkpoint": f"{number:06d}"} | changes
    return RoundResult(round=number, is_best=is_best, **values)


def prototypes(number):
    return StoredPrototypes(bytes([number]), [{"mass": 1.0, "nearest": ["Ödipus", "film"]}])


def everything(engine):
    """Every row of every table."""
    with engine.connect() as connection:
        return {table.name: sorted(map(repr, connection.execute(table.select()))) for table in metadata.sorted_tables}
