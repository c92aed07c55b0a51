"""The Schedules page on a real API: added, run, paused, resumed and removed, and what is refused."""

import pytest

from fedmem.storage.schedules import ScheduleStore
from tests.dashboard.sites import backend_on
from tests.dashboard.test_pages import words
from tests.end_to_end.products import Product


@pytest.fixture
def product(tmp_path) -> Product:
    return Product.made(tmp_path)


@pytest.fixture
def schedules(product) -> ScheduleStore:
    return ScheduleStore(product.engine)


@pytest.fixture
def api(product):
    with backend_on(product.url, product.data_dir) as address:
        yield address


def test_the_first_is_added_in_the_form(page, api, schedules):
    app = page("schedules", api)
    assert "No schedule yet" in words(app)
    app.text_input(key="schedule-cron").set_value(" 30 4 * * * ")
    app.text_input(key="schedule-timezone").set_value("Asia/Tokyo")
    app.number_input(key="schedule-rounds").set_value(7)
    app.selectbox(key="schedule-promotion").set_value("manual")
    app.button[-1].click().run()
    assert not app.error
    (row,) = schedules.all()
    assert (row.dataset, row.cron, row.timezone, row.rounds, row.promotion) == (
        "tiny",
        "30 4 * * *",
        "Asia/Tokyo",
        7,
        "manual",
    )
    said = words(app)
    assert "30 4 * * * (Asia/Tokyo), 7 rounds each time" in said
    assert "04:30 JST. It has not run yet." in said


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("schedule-cron", "0 3 * *", "has 4 fields"),
        ("schedule-timezone", "Mars", "there is no time zone 'Mars'"),
        ("schedule-cron", "0 5 * * *", "schedule 1 is due at these times already"),
    ],
)
def test_what_is_refused_is_said_below_the_form(page, api, schedules, key, value, said):
    schedules.create(dataset="tiny", cron="0 5 * * *", rounds=5)
    app = page("schedules", api)
    app.text_input(key=key).set_value(value)
    app.button[-1].click().run()
    assert said in words(app)
    assert len(schedules.all()) == 1


def test_it_is_run_paused_resumed_and_removed(page, api, schedules, product):
    one = schedules.create(dataset="tiny", cron="0 3 * * *", rounds=5)
    app = page("schedules", api)
    app.button(key="run-schedule-1").click().run()
    (job,) = product.jobs.page()
    assert f"Last: just now (job {job.id}, queued)." in words(app)
    app.button(key="run-schedule-1").click().run()
    assert "never two at a time" in words(app)
    app.button(key="pause-schedule-1").click().run()
    assert schedules.get(one.id).paused
    assert "Next: paused" in words(app)
    assert "never two at a time" not in words(app), "what was wrong before is not said again"
    app.button(key="resume-schedule-1").click().run()
    assert not schedules.get(one.id).paused
    app.button(key="remove-schedule-1").click().run()
    assert len(schedules.all()) == 1, "it is asked first"
    app.button(key="confirm-remove-schedule").click().run()
    assert schedules.all() == []
    assert "No schedule yet" in words(app)
    assert product.jobs.get(job.id).state == "queued"


def test_trouble_is_said(page, api, schedules):
    schedules.fail(schedules.create(dataset="tiny", cron="0 3 * * *", rounds=5), "the disk is full")
    assert "The disk is full" in words(page("schedules", api))
