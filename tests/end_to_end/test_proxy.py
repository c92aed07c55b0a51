"""Behind a real nginx with prefixes, as docs/guide/proxy.md shows it, and from pages of other sites in Chromium."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import httpx
import pytest

from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Event
from tests.dashboard.sites import backend_on, dashboard_on
from tests.end_to_end.products import Product
from tests.end_to_end.proxies import SITE, as_the_guide_shows, nginx, nginx_with
from tests.end_to_end.visitor import Visitor
from tests.ports import free_port
from tests.waiting import PATIENCE, until

PASSWORD, KEY = "let me in", "the key"
FETCH = """async ([address, method, key, body]) => {
    const headers = {"Content-Type": "application/json", ...(key && {"X-API-Key": key})};
    try {
        const answer = await fetch(address, {method, headers, body});
        return [answer.status, await answer.json(), answer.headers.get("X-Request-ID")];
    } catch (error) {
        return [error.name, null, null];
    }
}"""
# What needs no leave of the other site to be sent, as a form does.
SEND = "([address, body]) => fetch(address, {method: 'POST', mode: 'no-cors', body}).then(answer => answer.type)"
EVENTS = json.dumps({"events": [{"user_id": "visitor", "item_id": "m01", "timestamp": 1_764_000_000}]})


@dataclass(frozen=True)
class Shop:
    """A host behind a proxy, and two other sites: one whose pages may call the API."""

    product: Product
    host: str
    past_the_proxy: str
    friend: str
    stranger: str

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.host}{path}", headers={"X-API-Key": KEY, **headers}, timeout=PATIENCE)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Iterator[Shop]:
    nginx()
    folder = tmp_path_factory.mktemp("proxy")
    product = Product.made(folder / "product")
    host, friend, stranger = (free_port() for _ in range(3))
    sites = [f"http://127.0.0.1:{port}" for port in (host, friend, stranger)]
    told = {"root_path": "/api", "allowed_origins": sites[1], "trusted_proxies": "127.0.0.1", "api_key": KEY}
    with (
        backend_on(product.url, product.data_dir, **told) as api,
        dashboard_on(
            api,
            FEDMEM_API_KEY=KEY,
            FEDMEM_DASHBOARD_ROOT_PATH="/fedmem",
            FEDMEM_DASHBOARD_PASSWORD=PASSWORD,
            FEDMEM_TRUSTED_PROXIES="127.0.0.1",
        ) as dashboard,
        nginx_with(
            folder,
            as_the_guide_shows(host, api, dashboard) + SITE.format(port=friend) + SITE.format(port=stranger),
            *(host, friend, stranger),
        ),
    ):
        yield Shop(product, sites[0], api, sites[1], sites[2])


def test_pages_follow_one_another_below_the_prefix(shop):
    first = shop.get("/api/items?dataset=tiny&limit=2").json()
    assert first["next"].startswith("/api/items?")
    second = shop.get(first["next"]).json()
    assert {item["item_id"] for item in first["items"]}.isdisjoint(item["item_id"] for item in second["items"])
    past = httpx.get(f"{shop.past_the_proxy}/items?dataset=tiny&limit=2").json()
    assert past == first, "a probe beside the proxy needs no prefix"


def test_an_id_with_a_slash_arrives_as_it_was_sent(shop):
    CatalogueStore(shop.product.engine).add_feedback("tiny", [Event("a/b", "m01", 1.764e9)], 10)
    history = shop.get(f"/api/users/{quote('a/b', safe='')}/history?dataset=tiny").json()
    assert (history["user_id"], len(history["interactions"])) == ("a/b", 1)


def test_a_request_has_the_proxys_id_in_answer_and_log(shop, caplog):
    caplog.set_level("INFO", "backend.access")
    answer = shop.get("/api/users/unknown/history?dataset=tiny", **{"X-Request-ID": "forged"})
    said = answer.headers["x-request-id"]
    assert len(said) == 32, "nginx gives each request its own"
    assert answer.json()["request_id"] == said
    until(lambda: said in [record.fields["request_id"] for record in caplog.records], "a line of the log")


def test_the_documentation_is_the_prefixs(shop, context):
    assert shop.get("/api/openapi.json").json()["servers"] == [{"url": "/api"}]
    assert shop.get("/api/").headers["location"] == "/api/docs"
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(f"{shop.host}/api/docs")
    page.get_by_text("Recommend Batch").first.wait_for()
    page.close()


def test_the_dashboard_is_signed_in_to_and_read_below_its_prefix(shop, visit):
    tab: Visitor = visit(f"{shop.host}/fedmem")
    tab.page.goto(f"{shop.host}/fedmem/system")
    tab.page.get_by_label("Password of the dashboard").fill(PASSWORD)
    tab.page.get_by_role("button", name="Open").click()
    tab.page.get_by_role("heading", level=1, name="Overview").wait_for()
    assert tab.page.url.startswith(f"{shop.host}/fedmem/")
    tab.complaints.clear()  # the first page was a 401, which the console says
    tab.follow("system")
    assert "/fedmem/system" in tab.page.url
    assert "the database is ready" in tab.text(), "it reads the API past the proxy"
    tab.open("system")
    tab.has_no_complaints()


def test_a_page_of_a_site_that_may_reads_and_writes(shop, context):
    page = context.new_page()
    page.goto(shop.friend)
    status, body, request_id = page.evaluate(FETCH, [f"{shop.host}/api/items?dataset=tiny&limit=1", "GET", KEY, None])
    assert (status, body["total"] > 1, len(request_id)) == (200, True, 32)
    feedback = f"{shop.host}/api/feedback?dataset=tiny"
    assert page.evaluate(FETCH, [feedback, "POST", KEY, EVENTS])[0] == 200
    status, problem, _ = page.evaluate(FETCH, [feedback, "POST", None, EVENTS])
    assert (status, problem["status"]) == (401, 401), "a page reads what was wrong, too"
    page.close()


def test_a_page_of_another_site_neither_reads_nor_writes(shop, context):
    page = context.new_page()
    page.goto(shop.stranger)
    seen = page.evaluate(FETCH, [f"{shop.host}/api/items?dataset=tiny&limit=1", "GET", KEY, None])
    assert seen == ["TypeError", None, None]
    refused = f"{shop.host}/api/users/u01/readmit?dataset=tiny"
    with page.expect_response(refused) as found:
        page.evaluate(SEND, [refused, ""])
    assert found.value.status == 403
    page.close()
