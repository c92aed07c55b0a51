"""What an operator does on the dashboard, in a real browser: each click is seen in the API or the database, too."""

import re
from collections.abc import Iterator

import httpx
import pytest

from fedmem.errors import UnknownJobError
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Event
from fedmem.storage.schedules import ScheduleStore
from tests.dashboard.sites import PAGES, asked, backend_on, dashboard_on
from tests.end_to_end.browsing import Site, choose, confirm, playwright, press
from tests.end_to_end.products import Product
from tests.end_to_end.visitor import TITLES
from tests.waiting import PATIENCE, until

NARROW, DARK = 390, "rgb(17, 21, 28)"
SHOWN = {"items": "hidden", "online": "Treatment", "schedules": "0 3 * * *", "system": "in A/B test"}
SHORT = {"federated": {"num_rounds": 2}}
USERS = [f"u{number:02d}" for number in range(12)]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    """Job 1 serves; 2, of newer data and another seed, is held back; 3 serves other data; 4 was stopped when queued."""
    product = Product.made(tmp_path_factory.mktemp("operated"))
    product.write("books", "b", "Book")
    product.queue(SHORT)
    product.train()
    CatalogueStore(product.engine).take_feedback("tiny", [Event("u03", "m02", 1e9, "view")])
    product.queue({**SHORT, "seed": 7}, promotion="manual")
    product.queue(SHORT, dataset="books")
    product.train()
    product.jobs.stop(product.queue().id)
    product.directory(4).path.mkdir(parents=True)
    with backend_on(product.url, product.data_dir, impressions=1.0) as api, dashboard_on(api) as home:
        yield Site(product, api, home)


def version(site: Site, job_id: int) -> str:
    found = site.product.jobs.get(job_id).model_version
    assert found is not None
    return found


def answers(site: Site) -> dict[str, str]:
    """Which model answers which user."""
    return {user: site.told(f"/recommend/{user}?dataset=tiny")["model_version"] for user in USERS}


def recommended(site: Site, user: str) -> list[str]:
    return [item["title"] for item in site.told(f"/recommend/{user}?dataset=tiny")["items"]]


def test_a_hidden_item_is_in_no_answer_until_it_is_shown_again(site, visit):
    title = recommended(site, "u04")[0]
    item_id = f"m{int(title.removeprefix('Film ')):02d}"
    tab = visit(site.home)
    tab.open("items", dataset="tiny")
    main = tab.page.locator("[data-testid=stMain]")
    main.get_by_label("Title").fill(title)
    main.get_by_label("Title").press("Enter")
    for verb, words, available in (("Hide", "1 item is hidden", False), ("Show", "1 item is shown again", True)):
        box = main.get_by_text(f"{title} · {item_id}")
        playwright.expect(box).to_have_count(1)
        box.click()
        press(main, f"{verb} 1")
        main.get_by_text(words).wait_for()
        assert site.told(f"/items/{item_id}?dataset=tiny")["available"] is available
        until(lambda available=available: (title in recommended(site, "u04")) is available, f"{verb} in answers")
    playwright.expect(main.get_by_text("hidden", exact=True)).to_have_count(0)
    tab.has_no_complaints()


def test_a_deleted_user_is_gone(site, visit):
    assert site.told("/users/u11/history?dataset=tiny")["interactions"]
    tab = visit(site.home)
    tab.open("users", dataset="tiny")
    main = tab.page.locator("[data-testid=stMain]")
    main.get_by_label("Id", exact=True).fill("u11")
    main.get_by_label("Id", exact=True).press("Enter")
    main.get_by_text("User u11", exact=True).wait_for()
    confirm(tab, "Delete this user", "Delete the user")
    main.get_by_text("User u11 of tiny is deleted.").wait_for()
    assert asked(f"{site.api}/users/u11/history?dataset=tiny").status_code == 404
    assert "u11" not in CatalogueStore(site.product.engine).snapshot("tiny").interactions.users
    main.get_by_text("No user's id contains “u11”.").wait_for()
    tab.has_no_complaints()


def test_an_ended_job_is_removed_with_its_folder(site, visit):
    tab = visit(site.home)
    tab.open("training", job=4)
    main = tab.page.locator("[data-testid=stMain]")
    main.get_by_text("Remove this job", exact=True).click()
    confirm(tab, "Remove the job", "Remove the job")
    tab.page.wait_for_url(re.compile(r"job=(?!4\b)\d+"))
    assert asked(f"{site.api}/jobs/4").status_code == 404
    with pytest.raises(UnknownJobError):
        site.product.jobs.get(4)
    assert not site.product.directory(4).path.exists()
    tab.has_no_complaints()


def test_a_schedule_is_added_paused_resumed_and_removed(site, visit):
    schedules = ScheduleStore(site.product.engine)
    tab = visit(site.home)
    tab.open("schedules")
    main = tab.page.locator("[data-testid=stMain]")
    choose(tab, "Data set", "tiny")
    choose(tab, "Serve the model", "Only by hand")
    main.get_by_role("textbox", name="When (cron)").fill("30 4 * * *")
    press(main, "Add the schedule")
    main.get_by_text("30 4 * * * (UTC)").wait_for()
    (added,) = schedules.all()
    assert (added.dataset, added.cron, added.promotion, added.paused) == ("tiny", "30 4 * * *", "manual", False)
    press(main, "Pause")
    main.get_by_text("Next: paused").wait_for()
    assert site.told(f"/schedules/{added.id}")["paused"] is True
    press(main, "Resume")
    main.get_by_text("04:30 UTC").wait_for()
    assert site.told(f"/schedules/{added.id}")["paused"] is False
    confirm(tab, "Remove", "Remove it")
    main.get_by_text("No schedule yet").wait_for()
    assert schedules.all() == []
    tab.has_no_complaints()


def test_a_model_that_is_held_back_is_put_into_service_and_rolled_back(site, visit):
    first, second = version(site, 1), version(site, 2)
    assert set(answers(site).values()) == {first}
    tab = visit(site.home)
    tab.open("overview", job=2)
    tab.page.get_by_text("Its model is ready and waits").wait_for()
    tab.follow("system")
    choose(tab, "Another model", second)
    confirm(tab, "Put into service", "Put it into service")
    until(lambda: set(answers(site).values()) == {second}, "the model in every answer")
    assert site.active() == second
    tab.page.get_by_text(f"tiny by {second}").wait_for()
    choose(tab, "Data set", "tiny")
    confirm(tab, "Roll back", "Roll back")
    until(lambda: set(answers(site).values()) == {first}, "the model of before in every answer")
    assert site.active() == first
    tab.page.get_by_text(f"tiny by {first}").wait_for()
    tab.has_no_complaints()


def test_two_models_share_the_users_until_the_test_is_stopped(site, visit):
    first, second = version(site, 1), version(site, 2)
    tab = visit(site.home)
    tab.open("online", dataset="tiny")
    main = tab.page.locator("[data-testid=stMain]")
    choose(tab, "Model to try", second)
    confirm(tab, "Start", "Start it")
    main.get_by_text("Test 1", exact=True).wait_for()
    until(lambda: set(answers(site).values()) == {first, second}, "both models in answers")
    shared = answers(site)
    assert answers(site) == shared, "each user keeps to one model"
    (test,) = site.told("/ab-tests?dataset=tiny")["tests"]
    assert (test["control"]["model_version"], test["treatment"]["model_version"]) == (first, second)
    arms = main.locator(".fm-table tr").filter(has_text=re.compile("Control|Treatment")).all_inner_texts()
    assert [first in arms[-2], second in arms[-1]] == [True, True]
    main.get_by_text(f"{second} answers 50% of the users since").wait_for()
    confirm(tab, "Stop", "Stop it")
    main.get_by_text("Model to try").wait_for()
    until(lambda: set(answers(site).values()) == {first}, "one model in all answers")
    (test,) = site.told("/ab-tests?dataset=tiny")["tests"]
    assert test["ended_at"] is not None
    assert test["verdict"] in main.inner_text()
    tab.has_no_complaints()


def test_a_comparison_names_what_differs_and_what_does_not_compare_is_refused(site, visit):
    tab = visit(site.home)
    tab.open("training", job=2)
    main = tab.page.locator("[data-testid=stMain]")
    choose(tab, "Compare with", "Job 1 ")
    main.get_by_text("What sets the jobs apart").wait_for()
    differing = [one["name"] for one in site.told("/jobs/comparison?job=2&job=1")["differences"]]
    settings = main.locator(".fm-table td[data-label=Setting]")
    playwright.expect(settings).to_have_text(differing)
    assert {"snapshot", "seed"} <= set(differing)
    main.get_by_text("have different snapshots of").wait_for()
    tab.open("training", job=2, compare="1,3")
    refused = asked(f"{site.api}/jobs/comparison?job=2&job=3")
    assert refused.status_code == 409
    main.get_by_text(refused.json()["detail"][1:]).wait_for()
    playwright.expect(settings).to_have_text(differing)
    assert "Job 3" not in "".join(main.locator(".fm-table th").all_inner_texts())
    tab.has_no_complaints()


def test_every_page_fits_a_narrow_dark_window_with_all_of_this_on_it(site, visit):
    """The last test: it leaves a schedule, a hidden item and an A/B test."""
    for path, body in (
        ("/schedules", {"dataset": "tiny", "cron": "0 3 * * *"}),
        ("/items/availability?dataset=tiny", {"hide": ["m01"]}),
        ("/ab-tests", {"treatment": version(site, 2), "share": 0.5}),
    ):
        httpx.post(f"{site.api}{path}", json=body, timeout=PATIENCE).raise_for_status()
    tab = visit(site.home, NARROW, "dark")
    tab.open("training", job=2, compare=1)
    assert tab.page.locator(".stApp").evaluate("app => getComputedStyle(app).backgroundColor") == DARK
    tab.page.get_by_text("What sets the jobs apart").wait_for()
    tab.fits()
    tab.open("items", job=2, dataset="tiny")
    for name in PAGES:
        tab.follow(name)
        tab.page.locator("[data-testid=stMain]").get_by_text(SHOWN.get(name, TITLES[name])).first.wait_for()
        tab.fits()
        tab.has_no_complaints()
