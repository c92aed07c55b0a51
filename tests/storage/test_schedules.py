"""Schedules: due once, made up for once, never two jobs at a time, whoever looks."""

import threading
from datetime import UTC, datetime

import pytest

from fedmem.config_reader import validate_config
from fedmem.errors import ConfigError, ConflictError, UnknownDatasetError, UnknownScheduleError
from fedmem.storage import schema
from fedmem.storage.engine import writing
from fedmem.storage.models import ModelStore
from fedmem.storage.schedule_runs import ScheduleRuns
from fedmem.storage.schedules import ScheduleStore
from tests.storage.builders import add_dataset, claim, queue, result

DAY = 86_400.0
NIGHT = datetime(2026, 5, 1, 3, tzinfo=UTC).timestamp()
CONFIG = {"federated": {"num_rounds": 30}, "seed": 7}


@pytest.fixture
def schedules(store, engine, clock):
    clock.now = NIGHT - 3600
    return ScheduleStore(engine, clock)


@pytest.fixture
def runs(schedules, tmp_path):
    return ScheduleRuns(schedules, tmp_path, None)


@pytest.fixture
def nightly(schedules):
    return schedules.create(dataset="demo", cron="0 3 * * *", rounds=20, config=CONFIG)


def queued(schedules, runs):
    """What is due now, as a trainer queues it."""
    return [runs.due(row) for row in schedules.due()]


def trained(store, job, best, last=None):
    """Let a job end with a model that serves."""
    lease = claim(store)
    assert lease.job_id == job.id
    first = job.start_from is not None and store.get(job.start_from).model_round
    for number in [0, *range(first or 1, (last or best) + 1)]:
        store.commit_round(lease, result(number, is_best=number == best))
    store.finish(lease, "succeeded", model_round=best, activate=True)


def test_it_is_due_once_a_night(schedules, runs, clock, nightly):
    assert nightly.next_at == NIGHT
    assert queued(schedules, runs) == []
    clock.now = NIGHT
    (job,) = queued(schedules, runs)
    assert (job.kind, job.start_from, job.num_rounds, job.config["seed"]) == ("training", None, 30, 7)
    row = schedules.get(nightly.id)
    assert (row.next_at, row.last_at, row.last_job_id) == (NIGHT + DAY, NIGHT, job.id)
    assert queued(schedules, runs) == []


def test_the_model_in_service_goes_on_with_its_own_settings(store, schedules, runs, clock, nightly):
    clock.now = NIGHT
    trained(store, queued(schedules, runs)[0], best=25, last=30)
    clock.now = NIGHT + DAY
    (job,) = queued(schedules, runs)
    assert (job.start_from, job.snapshot, job.num_rounds) == (1, "newest", 45)
    assert job.config == validate_config(CONFIG | {"federated": {"num_rounds": 45}}, "x").model_dump(mode="json")
    said = [line.message for line in store.logs(job.id)]
    assert "queued by schedule 1 (0 3 * * *, UTC); estimated to take" in said[0]
    trained(store, job, best=30)
    clock.now = NIGHT + 2 * DAY
    assert [(job.start_from, job.num_rounds) for job in queued(schedules, runs)] == [(2, 50)]


def test_a_budget_of_privacy_that_no_night_could_keep_is_refused_at_once(store, schedules, runs, clock, tmp_path):
    def nightly(**given):
        return schedules.create(dataset="demo", cron="0 3 * * *", rounds=20, **given)

    private = {"privacy": {"weights_epsilon": 8}}
    with pytest.raises(ConfigError, match=r"the first job's cannot: privacy.weights_epsilon = 8"):
        nightly(config=private)
    (tmp_path / "jobs.yaml").write_text("privacy: {weights_epsilon: 8}\n")
    with pytest.raises(ConfigError, match=r"the first job's cannot: privacy.weights_epsilon = 8"):
        nightly(defaults=tmp_path / "jobs.yaml")
    assert schedules.all() == []
    job = store.get(queue(store, config=private, num_rounds=150))
    trained(store, job, best=25)
    with pytest.raises(ConfigError, match=r"job 1's, which serves, cannot: privacy.weights_epsilon = 8"):
        nightly()
    assert schedules.all() == []


@pytest.mark.parametrize(("rounds", "every"), [(3, 3), (9, 9), (10, 10), (20, 10)])
def test_a_night_is_never_too_short_for_a_validation(store, schedules, runs, clock, rounds, every):
    schedules.create(dataset="demo", cron="0 3 * * *", rounds=rounds, config=CONFIG)
    clock.now = NIGHT
    trained(store, queued(schedules, runs)[0], best=20, last=30)
    clock.now = NIGHT + DAY
    (job,) = queued(schedules, runs)
    assert (job.num_rounds, job.config["evaluation"]["eval_every"]) == (20 + rounds, every)


def test_a_clock_that_was_ahead_for_a_while_costs_no_further_night(schedules, runs, clock, nightly):
    clock.now = NIGHT + 365 * DAY
    queued(schedules, runs)
    clock.now = NIGHT + 10 * DAY - 60
    assert schedules.get(nightly.id).next_at == NIGHT + 366 * DAY
    schedules.bring_back()
    assert schedules.get(nightly.id).next_at == NIGHT + 10 * DAY


@pytest.mark.parametrize("ahead", [1, DAY + 1])
def test_a_next_time_that_is_near_stays(schedules, clock, nightly, ahead):
    """Past the first of two hours of the same name, what was due in it is not due again."""
    clock.now = NIGHT - ahead
    schedules.bring_back()
    assert schedules.get(nightly.id).next_at == NIGHT


def test_what_was_missed_is_made_up_for_once(schedules, runs, clock, nightly):
    clock.now = NIGHT + 5 * DAY + 7200
    assert len(queued(schedules, runs)) == 1
    assert schedules.get(nightly.id).next_at == NIGHT + 6 * DAY
    assert queued(schedules, runs) == []


@pytest.mark.parametrize("state", ["queued", "running", "paused"])
def test_there_are_never_two_at_a_time(store, schedules, runs, clock, nightly, state):
    clock.now = NIGHT
    (job,) = queued(schedules, runs)
    if state == "running":
        lease = claim(store)
    if state == "paused":
        store.pause(job.id)
    clock.now = NIGHT + 2 * DAY
    assert schedules.due() == []
    assert schedules.get(nightly.id).trouble(clock.now) == f"due, and waits for the end of job 1, which is {state}"
    with pytest.raises(
        ConflictError, match=f"job 1, of a schedule of data set demo, is {state}, and there are never two"
    ):
        runs.now(nightly.id)
    if state == "running":
        store.finish(lease, "failed", message="no reason")
    else:
        store.stop(job.id)
    assert len(queued(schedules, runs)) == 1
    assert schedules.get(nightly.id).next_at == NIGHT + 3 * DAY


def test_two_schedules_of_a_data_set_take_turns(store, schedules, runs, clock, nightly, engine):
    add_dataset(engine, "other")
    elsewhere = schedules.create(dataset="other", cron="0 3 * * *", rounds=5)
    second = schedules.create(dataset="demo", cron="1 3 * * *", rounds=5)
    clock.now = NIGHT + 60
    first, other, none = queued(schedules, runs)
    assert (first.dataset, other.dataset, none) == ("demo", "other", None)
    assert schedules.due() == []
    assert schedules.get(second.id).trouble(clock.now) == "due, and waits for the end of job 1, which is queued"
    assert schedules.get(elsewhere.id).trouble(clock.now) is None
    with pytest.raises(ConflictError, match="job 1, of a schedule of data set demo, is queued"):
        runs.now(second.id)
    store.stop(first.id)
    (job,) = queued(schedules, runs)
    assert schedules.get(second.id).last_job_id == job.id
    assert schedules.get(second.id).next_at == NIGHT + 60 + DAY


def test_two_schedules_looked_at_at_once_queue_one_job(schedules, runs, clock, nightly, store):
    schedules.create(dataset="demo", cron="1 3 * * *", rounds=5)
    clock.now = NIGHT + 60
    assert len(all_at_once([runs.due] * 4, 2 * schedules.due())) == 1
    assert len(store.page()) == 1


def all_at_once(looks, seen):
    """The jobs that come of several looks at this moment."""
    barrier, found = threading.Barrier(len(looks)), []

    def look(due, row):
        barrier.wait()
        found.append(due(row))

    threads = [threading.Thread(target=look, args=each) for each in zip(looks, seen, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(looks)
    return [job for job in found if job is not None]


def test_two_that_look_at_once_queue_one_job(schedules, runs, clock, nightly, store):
    clock.now = NIGHT
    assert len(all_at_once([runs.due] * 4, 4 * schedules.due())) == 1
    assert len(store.page()) == 1


def test_one_that_was_changed_since_it_was_looked_at_is_looked_at_again(schedules, runs, clock, nightly):
    clock.now = NIGHT
    (seen,) = schedules.due()
    schedules.change(nightly.id, paused=True)
    assert runs.due(seen) is None
    schedules.remove(nightly.id)
    assert runs.due(seen) is None


def test_at_once_leaves_when_it_is_due(schedules, runs, clock, nightly):
    schedules.change(nightly.id, paused=True)
    job = runs.now(nightly.id)
    row = schedules.get(nightly.id)
    assert (row.last_job_id, row.paused, row.next_at) == (job.id, True, None)


def test_one_that_cannot_be_followed_says_why_and_goes_on(store, schedules, runs, clock, nightly, engine, tmp_path):
    clock.now = NIGHT
    too_large = ScheduleRuns(schedules, tmp_path, memory=1)
    (seen,) = schedules.due()
    with pytest.raises(ConfigError, match="of memory"):
        too_large.due(seen)
    schedules.fail(seen, "the job is estimated to need too much")
    row = schedules.get(nightly.id)
    assert (row.next_at, row.last_at) == (NIGHT + DAY, NIGHT)
    assert row.trouble(clock.now) == "the job is estimated to need too much"
    clock.now = NIGHT + DAY
    assert len(queued(schedules, runs)) == 1
    assert schedules.get(nightly.id).trouble(clock.now) is None


def test_it_tells_what_became_of_its_last_job(store, schedules, runs, clock, nightly):
    clock.now = NIGHT
    queued(schedules, runs)
    lease = claim(store)
    store.finish(lease, "failed", message="the disk burnt")
    assert schedules.get(nightly.id).trouble(clock.now) == "job 1 failed: the disk burnt"


def test_one_that_is_paused_makes_up_for_nothing(schedules, clock, nightly):
    assert schedules.change(nightly.id, paused=True).next_at is None
    clock.now = NIGHT + 3 * DAY + 60
    assert schedules.due() == []
    assert schedules.change(nightly.id, paused=False).next_at == NIGHT + 4 * DAY


def test_changing_when_counts_from_now(schedules, clock, nightly):
    changed = schedules.change(nightly.id, cron="0 5 * * *", timezone="Europe/Berlin", rounds=3, promotion="manual")
    assert (changed.next_at, changed.rounds, changed.promotion) == (NIGHT, 3, "manual")  # 5:00 there is 3:00 UTC
    assert schedules.change(nightly.id, rounds=4).next_at == NIGHT
    with pytest.raises(ConfigError, match="bad minute"):
        schedules.change(nightly.id, cron="99 * * * *")
    assert schedules.get(nightly.id).cron == "0 5 * * *"


def test_the_same_twice_is_refused(schedules, nightly):
    with pytest.raises(ConflictError, match=f"schedule {nightly.id} is due at these times already"):
        schedules.create(dataset="demo", cron="0 3 * * *", rounds=5)
    other = schedules.create(dataset="demo", cron="0 3 * * *", timezone="Asia/Tokyo", rounds=5)
    with pytest.raises(ConflictError, match=f"schedule {nightly.id} is due at these times already"):
        schedules.change(other.id, timezone="UTC")
    assert [row.id for row in schedules.all()] == [nightly.id, other.id]


def test_what_is_not_there(schedules, nightly, engine):
    with pytest.raises(UnknownDatasetError):
        schedules.create(dataset="none", cron="0 3 * * *", rounds=5)
    for ask in (schedules.get, schedules.remove, schedules.change):
        with pytest.raises(UnknownScheduleError, match="there is no schedule 99"):
            ask(99)
    add_dataset(engine, "other")
    assert schedules.all("other") == []
    assert [row.id for row in schedules.all("demo")] == [nightly.id]


def test_a_data_set_takes_its_schedules_along(schedules, nightly, engine):
    with writing(engine) as connection:
        connection.execute(schema.datasets.delete())
    assert schedules.all() == []


def test_each_data_set_has_its_own_model(store, schedules, runs, clock, nightly, engine):
    add_dataset(engine, "other")
    clock.now = NIGHT
    trained(store, queued(schedules, runs)[0], best=2)
    schedules.create(dataset="other", cron="0 4 * * *", rounds=5)
    clock.now = NIGHT + 3700
    (job,) = queued(schedules, runs)
    assert (job.dataset, job.start_from) == ("other", None)
    assert ModelStore(engine).active("other") is None


def test_a_stopped_jobs_model_that_was_activated_goes_on(store, schedules, runs, clock, nightly):
    clock.now = NIGHT
    queued(schedules, runs)
    lease = claim(store)
    for number in range(4):
        store.commit_round(lease, result(number, is_best=number == 2))
    store.stop(1)
    store.finish(lease, "stopped", model_round=2)
    ModelStore(store.engine, clock).activate("job-1-round-2", "by hand")
    clock.now = NIGHT + DAY
    assert [(job.start_from, job.num_rounds) for job in queued(schedules, runs)] == [(1, 22)]


@pytest.mark.parametrize("damage", [{"sqlite": "'soon'", "postgresql": "'NaN'"}, {"sqlite": "x'00'"}, {}])
def test_what_is_no_time_is_due_at_the_next_one(schedules, nightly, engine, damage):
    with writing(engine) as connection:
        connection.exec_driver_sql(f"UPDATE schedules SET next_at = {damage.get(engine.dialect.name, '1e300')}")
    schedules.bring_back()
    assert schedules.get(nightly.id).next_at == NIGHT


def test_one_whose_times_are_damaged_says_so_and_rests(schedules, clock, nightly, engine):
    clock.now = NIGHT
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE schedules SET cron = 'now and then', last_job_id = NULL")
    (seen,) = schedules.due()
    schedules.fail(seen, "there are no such times")
    row = schedules.get(nightly.id)
    assert (row.next_at, row.trouble(clock.now)) == (None, "there are no such times")
    assert schedules.change(nightly.id, cron="0 3 * * *").next_at == NIGHT + DAY
