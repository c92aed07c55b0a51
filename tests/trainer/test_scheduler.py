"""A trainer follows schedules: the whole loop, what is missed, and what cannot be followed."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import update

from fedmem.config_reader import merged
from fedmem.storage import schema
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Event
from fedmem.storage.engine import writing
from fedmem.storage.metrics import MetricStore
from fedmem.storage.models import ModelStore
from fedmem.storage.schedule_runs import ScheduleRuns
from fedmem.storage.schedules import ScheduleStore
from tests.end_to_end.products import CONFIG, ROUNDS, Product
from tests.tiny import TINY
from tests.waiting import until
from trainer.control import Shutdown
from trainer.scheduler import Scheduler
from trainer.settings import Settings
from trainer.worker import Worker


@pytest.fixture
def product(tmp_path, database_url) -> Iterator[Product]:
    product = Product.made(tmp_path, database_url)
    yield product
    product.engine.dispose()


@pytest.fixture
def schedules(product) -> ScheduleStore:
    return ScheduleStore(product.engine)


def missed(product: Product, schedule: int) -> None:
    """Let its time have come while no trainer ran."""
    row = schema.schedules.c
    with writing(product.engine) as connection:
        connection.execute(update(schema.schedules).where(row.id == schedule).values(next_at=time.time() - 1e5))


def test_night_after_night_the_model_goes_on_through_the_gate(product, schedules):
    night = schedules.create(dataset="tiny", cron="0 3 * * *", rounds=4, config=merged(TINY, CONFIG))
    product.train()
    assert product.jobs.page() == [], "it is not due yet"
    catalogue, models = CatalogueStore(product.engine), ModelStore(product.engine)
    for number in (1, 2):
        missed(product, night.id)
        catalogue.add_feedback("tiny", [Event("newcomer", f"m{item:02}", 1e6 * number + item) for item in (1, 2, 4, 8)])
        before = models.active("tiny")
        assert f"schedule 1 is due: job {number} is queued" in product.train()
        (job, *_) = product.jobs.page()
        assert (job.id, job.state) == (number, "succeeded")
        assert job.start_from == (None if before is None else before.job_id)
        assert job.num_rounds == (ROUNDS if before is None else before.round + 4)
        assert models.get(job.model_version).active or job.held_back or job.message.endswith("of job 1, which stays")
        assert schedules.get(night.id).next_at > time.time()
    dataset = product.directory(2).read_snapshot().dataset
    assert len(dataset.history(dataset.vocabulary.user_index("newcomer"))) == 8


def test_a_night_shorter_than_eval_every_is_validated(product, schedules):
    product.queue({"federated": {"num_rounds": 4}, "evaluation": {"eval_every": 4}})
    product.train()
    schedules.create(dataset="tiny", cron="0 3 * * *", rounds=2)
    missed(product, 1)
    product.train()
    (job, *_) = product.jobs.page()
    assert (job.state, job.round, job.config["evaluation"]["eval_every"]) == ("succeeded", 6, 2)
    (*_, last) = MetricStore(product.engine).rounds(job.id, after_round=-1)
    assert (last.round, "NDCG@10" in last.metrics.get("validation", {})) == (6, True)
    assert "no round was validated" not in job.message


def test_a_trainer_that_trains_queues_what_is_due_meanwhile(product, schedules):
    """The thread looks again and again, whatever the trainer does."""
    night = schedules.create(dataset="tiny", cron="0 3 * * *", rounds=4)
    with Scheduler(schedules, ScheduleRuns(schedules, product.data_dir, None), 0.01):
        assert product.jobs.page() == []
        missed(product, night.id)
        until(lambda: product.jobs.page(), "a job")
    assert len(product.jobs.page()) == 1


def test_two_trainers_never_train_two_jobs_of_a_data_sets_schedules_at_a_time(product, schedules, monkeypatch):
    """Each has a connection of its own to the one database, and looks again and again."""
    for name, value in product.environment.items():
        monkeypatch.setenv(name, value)
    both = [
        schedules.create(dataset="tiny", cron=f"{n} 3 * * *", rounds=4, config=merged(TINY, CONFIG)) for n in (0, 1)
    ]
    for schedule in both:
        missed(product, schedule.id)
    workers = [Worker(Settings.load(), Shutdown()) for _ in range(2)]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    until(lambda: [job.state for job in product.jobs.page()] == ["succeeded"] * 2, "both schedules' jobs")
    for worker, thread in zip(workers, threads, strict=True):
        worker.shutdown.ask()
        thread.join()
        worker.stores.jobs.engine.dispose()
    first, second = reversed(product.jobs.page())
    assert second.created_at >= first.finished_at, "the second was not even queued before the first had ended"


def test_one_that_cannot_be_followed_holds_up_no_other(product, schedules, caplog):
    product.write("other", "o", "Book")
    broken = schedules.create(dataset="tiny", cron="0 3 * * *", rounds=4)
    too_large = schedules.create(dataset="tiny", cron="0 4 * * *", rounds=4)
    good = schedules.create(dataset="other", cron="0 3 * * *", rounds=4)
    with writing(product.engine) as connection:
        for schedule, config in ((broken, ["no", "tree"]), (too_large, {"model": {"max_seq_len": 10**9}})):
            row = schema.schedules.c.id == schedule.id
            connection.execute(update(schema.schedules).where(row).values(config=config))
    for schedule in (broken, too_large, good):
        missed(product, schedule.id)
    Scheduler(schedules, ScheduleRuns(schedules, product.data_dir, None), 1.0).look()
    now = time.time()
    assert schedules.get(good.id).last_job.state == "queued"
    assert [job.dataset for job in product.jobs.page()] == ["other"]
    for schedule in (broken, too_large):
        row = schedules.get(schedule.id)
        assert row.trouble(now), "it says why"
        assert row.next_at > now, "and goes on at its next time"
        assert f"schedule {row.id} is due, and no job is queued" in caplog.text


@pytest.mark.parametrize(
    "damage",
    [
        "next_at = 'soon'",
        "cron = 'now and then'",
        "cron = x'00'",
        "timezone = x'ff'",
        "rounds = 'many'",
        "created_at = 'then'",
        "last_at = 'then'",
        "last_job_id = 'last'",
        "promotion = x'00'",
        "paused = 'no'",
    ],
)
def test_a_damaged_row_ends_neither_the_others_nor_the_trainer(product, schedules, damage):
    if product.engine.dialect.name == "postgresql":
        pytest.skip("PostgreSQL keeps no such value")
    product.write("other", "o", "Book")
    for dataset in ("tiny", "other"):
        missed(product, schedules.create(dataset=dataset, cron="0 3 * * *", rounds=4).id)
    with closing(sqlite3.connect(product.engine.url.database)) as connection, connection:
        connection.execute(f"UPDATE schedules SET {damage} WHERE id = 1")
    with Scheduler(schedules, ScheduleRuns(schedules, product.data_dir, None), 0.01):
        assert "other" in [job.dataset for job in product.jobs.page()]
        missed(product, 2)
        assert schedules.get(2).trouble(time.time()), "its job has not ended"
        product.jobs.stop(schedules.get(2).last_job_id)
        until(lambda: len([job for job in product.jobs.page() if job.dataset == "other"]) == 2, "another look")
