"""A product whose every name is written as markup: ids, titles, genres, the data set, messages, log lines, a trainer.

Wherever a page took one of them for markup, an element would be made of it or a request sent to ``ELSEWHERE``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import migrations
from fedmem.config_reader import merged
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns, ItemRow
from fedmem.storage.engine import writing
from fedmem.storage.schedules import ScheduleStore
from fedmem.storage.schema import datasets, jobs
from tests.dashboard.example_rounds import Curves
from tests.dashboard.pretended_trainer import PretendedTrainer
from tests.dashboard.sites import backend_on
from tests.end_to_end.products import CONFIG, Product
from tests.tiny import ITEMS, tiny_config, walks

ELSEWHERE = "http://e.invalid"
MARKUP = (
    f"*a* **b** _c_ `d` ~~e~~ $f^2$ ![g]({ELSEWHERE}/g) [h]({ELSEWHERE}/h) <img src='{ELSEWHERE}/i'> <b>j</b> &amp; "
    f":smile: :red[k] :material/home: :material_home: :streamlit: l -> m {ELSEWHERE}/n www.o.invalid p@q.r #005B99"
)
DATASET = f"data {MARKUP}"
MESSAGE = f"1. message {MARKUP}"
LINE = f"- line {MARKUP}"
WORKER = f"# worker {MARKUP}"
KEY = f"> key {MARKUP}"
ENCODER = f"encoder {MARKUP}"


def item_id(number: int) -> str:
    """The id of an item, which has a slash and a percent sign, too."""
    return f"item/{number}%2F {MARKUP}"


def title(number: int) -> str:
    """Its title; that of one is a single long word."""
    return f"**{'Film' * 30}**" if number == 7 else f"Film {number} {MARKUP}"


def genre(number: int) -> str:
    """Its genre."""
    return f"- genre {number % 3} {MARKUP}"


def user(number: int) -> str:
    """A user's id; one is an e-mail address, and two are of a bug report."""
    known = {0: "u@v.invalid", 1: f"![p]({ELSEWHERE}/beacon.png)", 2: "u_1_x*star*"}
    return known.get(number, f"user {number:02d} {MARKUP}")


@dataclass(frozen=True)
class Hostile:
    """Where its API is, and its jobs."""

    api: str
    product: Product
    trained: int
    experiment: int
    running: int
    failed: int


@contextmanager
def hostile_product(folder: Path) -> Iterator[Hostile]:
    """Job 1 serves, 2 was an experiment, 3 trains with a configuration of tomorrow, and 4 has failed."""
    product = Product(f"sqlite:///{folder / 'fedmem.db'}", folder / "data")
    migrations.upgrade(product.url)
    _import(product)
    trained, experiment = _queue(product, "training"), _queue(product, "experiment", text_model_name=ENCODER)
    product.train()
    trainer = PretendedTrainer(product.url)
    failed = trainer.queue(DATASET)
    lease = trainer.claim()
    trainer.train(lease, 20, Curves())
    trainer.jobs.finish(lease, "failed", message=MESSAGE)
    running = trainer.queue(DATASET, federated={"num_rounds": 100})
    trainer.train(lease := trainer.claim(), 20, Curves())
    trainer.jobs.log(lease, "WARNING", LINE)
    trainer.jobs.seen(WORKER, running.id)
    schedules = ScheduleStore(product.engine)
    schedules.fail(schedules.create(dataset=DATASET, cron="0 3 * * *", rounds=20), MESSAGE)
    with writing(product.engine) as connection:
        connection.execute(jobs.update().where(jobs.c.id == running.id).values(config={KEY: 1}))
    with backend_on(product.url, product.data_dir) as api:
        yield Hostile(api, product, trained, experiment, running.id, failed.id)


def _import(product: Product) -> None:
    sequences = walks(12, ITEMS)
    users = [user(number) for number, sequence in enumerate(sequences) for _ in sequence]
    items = [item_id(number) for sequence in sequences for number in sequence]
    times = [float(time) for sequence in sequences for time in range(len(sequence))]
    catalogue = [ItemRow(item_id(n), title=title(n), genres=(genre(n),)) for n in range(1, ITEMS + 1)]
    CatalogueStore(product.engine).write("data", "the test", InteractionColumns(users, items, times), catalogue)
    with writing(product.engine) as connection:  # as one was called that was imported when a name might hold a slash
        connection.execute(datasets.update().values(name=DATASET))


def _queue(product: Product, kind: str, **model: str) -> int:
    config = tiny_config(**merged(CONFIG, {"model": model}))
    job, _ = product.jobs.create(
        kind=kind, dataset=DATASET, config=config.model_dump(mode="json"), num_rounds=config.federated.num_rounds
    )
    return job.id
