"""The dashboard in a real browser: pages in every state, live rounds on the same canvas, a job from start to stop."""

import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import migrations
from fedmem.storage.jobs import Lease
from tests.dashboard.example_rounds import Curves
from tests.dashboard.pretended_trainer import PretendedTrainer
from tests.dashboard.sites import PAGES, POLL, asked, backend_on, dashboard_on
from tests.end_to_end.browsing import Site, asks, choose, confirm, press
from tests.end_to_end.products import ROUNDS, Product
from tests.end_to_end.visitor import Visitor
from tests.ports import free_port
from tests.waiting import PATIENCE, until

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
NARROW = 390
PASSWORD = "let me in"
LONG = 700  # rounds of a job whose charts are thinned
NEWS = 2 * POLL + 3  # two polls, and time to draw on a busy machine
LINE = 44  # how far below the top of its canvas the line of 50 clients is, in pixels
LIVE = ("overview", "training", "clients", "memory", "prototypes")
STEP, FINE_STEP = 10, 4  # pixels of the mouse along a line: less than a point is wide, and than LONG / 3 are apart
LISTEN = """
    window.told = [];
    window.listening?.disconnect();
    window.listening = new MutationObserver(() => {
        const tooltip = document.querySelector("#vg-tooltip-element.visible");
        if (tooltip) told.push(tooltip.innerText);
    });
    listening.observe(document.body, {subtree: true, childList: true, attributes: true});
"""
TOLD = "new Promise(requestAnimationFrame).then(() => told)"  # what the last move does is done
MARK = "window.marked = [...document.querySelectorAll('canvas')]"
SAME = """(() => {
    const now = [...document.querySelectorAll('canvas')];
    return marked.length > 0 && now.length === marked.length && now.every((canvas, place) => canvas === marked[place]);
})()"""
WATCH = """
    window.changes = [];
    window.drawings = 0;
    // Streamlit makes the buttons anew that are shown when the mouse is over an element; and time passes in words.
    const news = seen => !seen.target.parentElement?.closest('[data-testid=stElementToolbar]')
        && !/ ago/.test(seen.target.textContent);
    const told = seen => seen.target.outerHTML ?? seen.target.textContent;
    window.watching = new MutationObserver(all => window.changes.push(...all.filter(news).map(told)));
    const main = document.querySelector('[data-testid=stMain]');
    watching.observe(main, {subtree: true, childList: true, characterData: true});
"""


@pytest.fixture(scope="module")
def empty_site(tmp_path_factory) -> Iterator[Site]:
    """A database without data."""
    folder = tmp_path_factory.mktemp("empty")
    product = Product(f"sqlite:///{folder / 'fedmem.db'}", folder / "data")
    migrations.upgrade(product.url)
    locked = {"FEDMEM_DASHBOARD_PASSWORD": PASSWORD}
    with backend_on(product.url, product.data_dir) as api, dashboard_on(api, **locked) as home:
        yield Site(product, api, home)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    """Job 1 was really trained and is in service, job 2 was an experiment, and job 3 is under way."""
    product = Product.made(tmp_path_factory.mktemp("site"))
    product.queue()
    product.queue({"ablation": {"disable_memory": True}}, kind="experiment")
    product.train()
    with backend_on(product.url, product.data_dir) as api, dashboard_on(api) as home:
        yield Site(product, api, home)


@pytest.fixture(scope="module")
def running(site) -> tuple[PretendedTrainer, Lease]:
    """A job whose rounds the test itself commits."""
    trainer = PretendedTrainer(site.product.url)
    trainer.queue("tiny", federated={"num_rounds": 100})
    lease = trainer.claim()
    trainer.train(lease, 20, Curves(), seconds=2.0)
    return trainer, lease


def test_every_page_opens_on_an_empty_database_once_the_password_is_given(empty_site, visit):
    tab = visit(empty_site.home)
    tab.page.goto(f"{empty_site.home}/system")
    for given in ("wrong", PASSWORD):
        tab.page.get_by_label("Password of the dashboard").fill(given)
        tab.page.get_by_role("button", name="Open").click()
        tab.page.get_by_text("That is not the password." if given == "wrong" else "Overview").first.wait_for()
    tab.complaints.clear()  # the browser's, that it was refused before
    for name in PAGES:
        tab.follow(name)
        assert re.search("(?i)no .* yet", tab.text()), f"{name} does not say what is missing: {tab.text()}"
        tab.has_no_complaints()


def test_every_page_opens_on_finished_jobs(site, visit):
    tab = visit(site.home)
    for name in PAGES:
        tab.open(name, job=1)
        tab.has_no_complaints()
    tab.follow("overview")
    assert f"all {ROUNDS} rounds are done" in tab.text()
    tab.open("training", job=2)
    for name in ("training", "memory", "prototypes"):  # where a job without a memory looks otherwise
        tab.follow(name)
        assert "job=2" in tab.page.url
        tab.has_no_complaints()


def test_every_page_opens_on_a_running_job_in_a_narrow_window(site, running, visit):
    _, lease = running
    tab = visit(site.home, NARROW)
    tab.open("overview", job=lease.job_id)
    for name in PAGES:
        tab.follow(name)
        assert f"job={lease.job_id}" in tab.page.url
        tab.has_no_complaints()
        tab.fits()
        assert tab.page.locator("[data-testid=stSidebar][aria-expanded=true]").count() == 0, "the page is covered"


def test_no_address_ends_in_an_error(site, visit):
    tab = visit(site.home)
    for name, odd in (("training", "²"), ("recommend", "%00"), ("prototypes", "9" * 5000), ("overview", "1,1,%FF")):
        parameters = ("job", "compare", "k", "user", "items", "latest", "round", "prototype")
        tab.open(name, **dict.fromkeys(parameters, odd))
        assert tab.page.locator("[data-testid=stException]").count() == 0, (name, tab.text())


FOREIGN = """([api, home, patience]) => {
    const ask = async () => {
        const got = [];
        for (const [method, path, body] of [
            ["POST", "/jobs/3/stop"], ["POST", "/models/job-1-round-2/activate"],
            ["POST", "/jobs", '{"dataset": "tiny"}'], ["DELETE", "/users/u03"],
        ]) {
            await fetch(api + path, {method: method === "DELETE" ? "POST" : method, body, mode: "no-cors"});
            got.push(await fetch(api + path, {method, body}).then(answer => answer.status, () => "unreadable"));
        }
        const socket = new WebSocket(home.replace("http", "ws") + "/_stcore/stream");
        got.push(await new Promise(done => {
            socket.onopen = () => done("open");
            socket.onerror = () => done("refused");
        }));
        return got;
    };
    return Promise.race([ask(), new Promise(done => setTimeout(done, patience, "in vain"))]);
}"""
FRAME = "home => { document.body.appendChild(document.createElement('iframe')).src = home; }"
FORM = """api => {
    const form = document.body.appendChild(document.createElement("form"));
    [form.method, form.action] = ["post", api + "/jobs/3/pause"];
    form.submit();
}"""


def test_a_page_of_another_site_changes_nothing_and_frames_nothing(site, running, context, tmp_path):
    """Even one on the same machine: its port makes it another origin."""
    _, lease = running
    (tmp_path / "index.html").write_text("<h1>You have won</h1>", encoding="utf-8")
    jobs = site.product.jobs
    before = jobs.get(lease.job_id), len(jobs.page(limit=9)), site.active()
    with serving(tmp_path) as foreign:
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(foreign)
        assert page.evaluate(FOREIGN, [site.api, site.home, 1000 * PATIENCE]) == ["unreadable"] * 4 + ["refused"]
        with page.expect_event("framenavigated", lambda frame: frame.url != "about:blank") as framed:
            page.evaluate(FRAME, site.home)
        assert framed.value.url.startswith("chrome-error:"), "the dashboard is framed"
        with page.expect_response("**/pause") as answered:
            page.evaluate(FORM, site.api)
        assert answered.value.status == 403
        page.wait_for_url("**/pause")  # Chromium may lose a close while it goes from one site to the other
        page.close()
    job = jobs.get(lease.job_id)
    assert (job.desired_state, job.state) == (before[0].desired_state, before[0].state)
    assert (len(jobs.page(limit=9)), site.active()) == before[1:]
    assert asked(f"{site.api}/users/u03/history").is_success


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a site that is a folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_a_new_round_appears_on_the_same_canvas_and_the_zoom_stays(site, running, visit):
    trainer, lease = running
    tab = visit(site.home)
    tab.open("clients", job=lease.job_id)
    number = site.job(lease.job_id).round
    tab.page.get_by_text(f"Round {number} of 100").wait_for()
    participation, total = tab.page.locator("canvas").first, tab.page.locator("canvas").last
    assert number in rounds_shown(tab, participation)
    zoom(tab, participation)
    zoomed = rounds_shown(tab, participation)
    assert 3 < len(zoomed) < number
    tab.page.evaluate(MARK)
    tab.page.evaluate("window.drawings = 0")
    before = drawn_on(total)
    trainer.train(lease, number + 3, Curves())
    tab.page.get_by_text(f"Round {number + 3} of 100").wait_for()
    until(lambda: drawn_on(total) != before, "the new rounds' drawing", pause=0.1)
    assert tab.page.evaluate("drawings") > 0
    assert tab.page.evaluate(SAME), "a canvas was made anew, or one more"
    assert rounds_shown(tab, participation) == zoomed, "the zoom was lost"
    tab.has_no_complaints()


def test_a_long_job_is_drawn_with_fewer_points_and_with_all_where_the_reader_zooms_in(site, running, visit):
    trainer, _ = running
    trainer.queue("tiny", federated={"num_rounds": LONG + 10})
    lease = trainer.claim()
    trainer.train(lease, LONG, Curves(), seconds=0.1)
    tab = visit(site.home)
    tab.open("clients", job=lease.job_id)
    canvas = tab.page.locator("canvas").first
    assert {number % 4 for number in rounds_shown(tab, canvas) - {LONG}} == {1}
    tab.page.evaluate(MARK)
    zoom(tab, canvas, 8)
    zoomed = until(lambda: every_round_shown(tab, canvas), "all rounds of the part that is shown")
    assert max(zoomed) - min(zoomed) < LONG / 3
    trainer.train(lease, LONG + 3, Curves())
    tab.page.get_by_text(f"Round {LONG + 3} of").wait_for()
    site.polled(tab, 2)
    assert every_round_shown(tab, canvas) == zoomed, "the zoom was lost"
    assert tab.page.evaluate(SAME), "a canvas was made anew, or one more"
    trainer.finish(lease, Curves(), activate=False)
    tab.has_no_complaints()


def zoom(tab: Visitor, canvas: "playwright.Locator", times: int = 3) -> None:
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] / 2)
    tab.page.keyboard.down("Shift")
    for _ in range(times):
        before = drawn_on(canvas)
        tab.page.mouse.wheel(0, -200)
        until(lambda before=before: drawn_on(canvas) != before, "the zoomed chart", pause=0.1)
    tab.page.keyboard.up("Shift")
    until(lambda: is_still(canvas), "the end of the drawing")


def every_round_shown(tab: Visitor, canvas: "playwright.Locator") -> set[int]:
    """The rounds of a third of the chart at most, or none if the points that are left out of a long line still are."""
    shown = rounds_shown(tab, canvas, FINE_STEP)
    return shown if {number % 4 for number in shown} == {0, 1, 2, 3} else set()


def rounds_shown(tab: Visitor, canvas: "playwright.Locator", step: int = STEP) -> set[int]:
    """As the tooltips tell along the line, which is that of the clients of each round, at the top of the chart."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    left, right, height = box["x"] + 30, box["x"] + box["width"], box["y"] + LINE
    tab.page.evaluate(LISTEN)
    tab.page.mouse.move(left, height)
    tab.page.mouse.move(right, height, steps=int(right - left) // step)
    told = tab.page.evaluate(TOLD)
    return {int(number) for number in re.findall(r"Round\s*:?\s*(\d+)", "\n".join(told))}


def drawn_on(canvas: "playwright.Locator") -> str:
    return canvas.evaluate("canvas => canvas.toDataURL()")


def is_still(canvas: "playwright.Locator") -> bool:
    before = drawn_on(canvas)
    time.sleep(1.0)  # a zoom draws several times
    return drawn_on(canvas) == before


def test_what_is_chosen_is_in_the_address_and_comes_back_with_it(site, visit):
    tab = visit(site.home)
    tab.open("prototypes", job=1)
    tab.page.get_by_role("radio", name="P2").click()
    tab.page.wait_for_url("**prototype=P2**")
    slid(tab, "ArrowLeft")
    tab.page.wait_for_url("**round=**")
    tab.page.reload()
    tab.settled()
    playwright.expect(tab.page.get_by_role("radio", name="P2")).to_be_checked()
    tab.open("recommend", user="u01")
    slid(tab, "ArrowRight")
    tab.page.wait_for_url("**latest=1**")
    tab.page.reload()
    tab.page.get_by_role("heading", name="With the latest interaction").wait_for()
    tab.page.get_by_role("radio", name="A history of your own").click()
    tab.page.get_by_label("Search titles").fill("Film 7")
    tab.page.get_by_label("Search titles").press("Enter")
    press(tab.page.locator("[data-testid=stMain]"), "Film 7")
    tab.page.wait_for_url("**items=m07**")
    tab.page.reload()
    tab.page.get_by_text("has taken 1 item").wait_for()
    tab.has_no_complaints()


def slid(tab: Visitor, key: str) -> None:
    """Move the page's slider by one."""
    slider = tab.page.locator("[data-testid=stMain]").get_by_role("slider")
    slider.focus()
    slider.press(key)


def test_nothing_is_touched_while_there_is_no_news(site, running, visit):
    _, lease = running
    tab = visit(site.home)
    tab.open("system", job=lease.job_id)
    for name in LIVE:
        tab.page.evaluate("window.drawings = 0")
        tab.follow(name)
        tab.page.wait_for_function("drawings > 0")
        site.polled(tab, 2)  # what comes late, such as the sizes of charts, is there
        tab.page.evaluate(MARK)
        tab.page.evaluate(WATCH)
        site.polled(tab, 3)
        assert tab.page.evaluate("changes") == [], name
        assert tab.page.evaluate("drawings") == 0, name
        assert tab.page.evaluate(SAME), name
        tab.page.evaluate("watching.disconnect()")
        tab.has_no_complaints()


def test_the_first_page_is_found_by_its_name_too(site, visit):
    tab = visit(site.home)
    tab.page.goto(f"{site.home}/overview?job=2")
    tab.page.get_by_role("heading", name="Overview", level=1).wait_for()
    tab.page.wait_for_url(f"{site.home}/?job=2")
    tab.has_no_complaints()


def test_a_job_is_started_paused_resumed_and_stopped_from_the_page(site, visit):
    trainer = site.product.start("-m", "trainer")
    try:
        tab = visit(site.home)
        tab.open("training", new=1)
        choose(tab, "Settings start from", "Job 1 ")
        rounds = tab.page.get_by_role("spinbutton", name="Rounds at most")
        playwright.expect(rounds).to_have_value(str(ROUNDS))
        playwright.expect(tab.page.get_by_role("switch", name="Transition memory")).to_be_checked()
        rounds.fill("20000")
        rounds.press("Enter")
        tab.settled()
        tab.page.get_by_role("button", name="Start the job").click()
        tab.page.get_by_text("of 20000", exact=False).first.wait_for()
        (started,) = site.product.jobs.page(limit=1)
        assert started.config["federated"]["num_rounds"] == 20_000
        assert started.config["model"] == site.product.jobs.get(1).config["model"]
        becomes(site, tab, started.id, "running")
        main = tab.page.locator("[data-testid=stMain]")
        press(main, "Pause")
        becomes(site, tab, started.id, "paused")
        press(main, "Resume")
        becomes(site, tab, started.id, "running")
        confirm(tab, "Stop", "Stop the job")
        becomes(site, tab, started.id, "stopped")
        main.get_by_role("button", name="Pause").wait_for(state="detached")
        tab.has_no_complaints()
    finally:
        trainer.terminate()
        trainer.communicate(timeout=PATIENCE)


def becomes(site: Site, tab: Visitor, job_id: int, state: str) -> None:
    """On the page, and then in the API and in the database."""
    tab.page.locator(".stMarkdownBadge").get_by_text(state).first.wait_for()
    assert site.job(job_id).state == state


def test_a_page_comes_back_by_itself_when_the_backend_does(site, running, visit):
    _, lease = running
    port = free_port()
    with dashboard_on(f"http://127.0.0.1:{port}") as home:
        tab = visit(home)
        tab.open("memory", job=lease.job_id)
        tab.page.get_by_text("does not answer").wait_for()
        with backend_on(site.product.url, site.product.data_dir, port):
            tab.page.locator("canvas").first.wait_for()
            assert tab.page.get_by_text("does not answer").count() == 0
            tab.settled()
            tab.page.wait_for_timeout(1000 * NEWS)
            tab.page.evaluate(MARK)
            before = places(tab)
        tab.page.get_by_text("You see what it said last").wait_for()
        playwright.expect(tab.page.get_by_text("You see what it said last")).to_be_in_viewport()
        assert tab.page.evaluate(SAME)
        assert places(tab) == before
        with backend_on(site.product.url, site.product.data_dir, port):
            tab.page.get_by_text("You see what it said last").wait_for(state="detached")
        tab.has_no_complaints()


def places(tab: Visitor) -> list[float]:
    """How far down each chart is: what stands above has not moved if they have not."""
    return tab.page.evaluate("[...document.querySelectorAll('canvas')].map(each => each.getBoundingClientRect().top)")


def test_a_file_is_uploaded_stopped_looked_at_and_imported_and_an_item_edited(site, visit, tmp_path, monkeypatch):
    """The last test: it adds a data set."""
    orders, endless = tmp_path / "kitchen.csv", tmp_path / "reads-until-it-is-stopped"
    orders.write_text("user_id,item_id,timestamp\n" + "".join(f"u{n % 9},pan {n % 7},{n}\n" for n in range(90)))
    endless.write_text('#!/bin/sh\nuntil [ -e "$3/stop" ]; do sleep 0.1; done\n')
    endless.chmod(0o700)
    tab = visit(site.home)
    tab.open("datasets")
    main, field = tab.page.locator("[data-testid=stMain]"), tab.page.locator("input[type=file]").first
    field.set_input_files(orders)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(endless))
        press(main, "Look at it first")
        press(main, "Stop")
        main.get_by_text("Reading kitchen.csv").wait_for(state="detached")
    assert asked(f"{site.api}/uploads").json() == {"uploads": []}
    press(main, "Look at it first")
    press(main, "Import it as kitchen")
    main.get_by_text("90 new interactions").wait_for()
    assert "kitchen" in {one["name"] for one in asked(f"{site.api}/datasets").json()["datasets"]}
    tab.open("items", dataset="kitchen")
    dialog = tab.page.get_by_role("dialog")
    until(
        lambda: asks(dialog, lambda wait: main.get_by_role("button", name="Edit").first.click(timeout=1000 * wait)),
        "it",
    )
    dialog.get_by_role("textbox", name="Title").fill("A pan of iron")
    dialog.get_by_role("button", name="Save").click()
    main.get_by_text("A pan of iron is saved.").wait_for()
    assert "A pan of iron" in {one["title"] for one in asked(f"{site.api}/items?dataset=kitchen").json()["items"]}
    tab.has_no_complaints()
