"""What is done before the services start: the database's tables, the demo in an empty one, a first job."""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import migrations
from cli.screen import stages
from fedmem.config_reader import validate_config
from fedmem.data.demo import write_demo
from fedmem.data.formats import read_dataset
from fedmem.environment import PRIVATE
from fedmem.errors import ConfigError
from fedmem.importing.writing import import_dataset
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore

LOG = logging.getLogger(__name__)

DEMO = "demo"
DEMO_CHANGES = {  # configs/demo.yaml
    "features": {"image_model_name": "descriptor"},
    "federated": {"num_rounds": 150},
    "ablation": {"disable_moe": False},
}


def prepare(data_dir: Path, database_url: str, *, train: bool) -> None:
    """Bring the database to this version's schema, and give a newcomer's something to see.

    Args:
        data_dir: for the demo's pictures.
        database_url: if it holds no data set, the demo is put in it.
        train: whether to queue a training job on the demo, if it is there and no job ever was.
    """
    with one_at_a_time(data_dir):
        migrations.upgrade(database_url)
        engine = connect(database_url)
        catalogue, jobs = CatalogueStore(engine), JobStore(engine)
        catalogue.clear()
        if not catalogue.datasets():
            put_demo(catalogue, data_dir / DEMO)
        if train and DEMO in {row.name for row in catalogue.datasets()} and not jobs.page(limit=1):
            queue_first_job(jobs)
        engine.dispose()


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Make others who prepare the same folder at the same time wait for the first."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777 & ~PRIVATE)  # what was written when there was no such rule lies in it
        with (folder / ".preparing").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except PermissionError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}); choose another --data-dir") from None


def put_demo(catalogue: CatalogueStore, folder: Path) -> None:
    """Make the demo catalogue and bring it into the database."""
    LOG.info("the database is empty: making the demo catalogue")
    with stages() as progress:
        write_demo(folder, progress=lambda done, total: progress("drawing covers", done, total))
        import_dataset(catalogue, DEMO, str(folder.resolve()), *read_dataset(folder), progress)


def queue_first_job(jobs: JobStore) -> None:
    """Queue a training job on the demo, so that there is something to see."""
    config = validate_config(DEMO_CHANGES, "the demo's configuration")
    jobs.create(
        kind="training",
        dataset=DEMO,
        config=config.model_dump(mode="json"),
        num_rounds=config.federated.num_rounds,
        idempotency_key="the first job of fedmem up",
    )
