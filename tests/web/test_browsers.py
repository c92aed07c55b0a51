"""What a page of another site may have sent is refused, around a small application."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from web.browsers import BrowserGuard, Hosts
from web.settings import WebSettings


async def here(request) -> PlainTextResponse:
    return PlainTextResponse("here", headers={"X-Content-Type-Options": "nosniff"})


async def socket(connection: WebSocket) -> None:
    await connection.accept()
    await connection.send_text("open")


def client(host: str = "localhost:8000", **settings: str) -> TestClient:
    methods = ["GET", "POST", "DELETE", "OPTIONS"]
    app = Starlette(routes=[Route("/", here, methods=methods), WebSocketRoute("/socket", socket)])
    app.add_middleware(
        BrowserGuard,
        settings=WebSettings(_env_file=None, **settings),
        refuse=lambda _, detail: PlainTextResponse(detail, 403),
    )
    return TestClient(app, base_url=f"http://{host}")


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST.", "app.localhost:1", "127.0.0.1:8000", "192.168.1.7", "[::1]:8000"],
)
def test_these_names_need_no_setting(host):
    assert Hosts(()).allow(host)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "a b"]
)
def test_other_names_are_not_ours(host):
    assert Hosts(()).allow(host) is (host == "[::1")


def test_names_of_ones_own():
    hosts = Hosts(("shop.example", "*.shop.example"))
    assert all(map(hosts.allow, ("shop.example:443", "SHOP.example", "a.shop.example", "a.b.shop.example")))
    assert not any(map(hosts.allow, ("myshop.example", "shop.example.evil", "evil")))
    assert Hosts(("*",)).allow("whatever")


def test_a_name_that_was_made_to_mean_this_machine_reads_nothing():
    answer = client("evil.example").get("/")
    assert (answer.status_code, answer.text.split(":")[0]) == (403, "'evil.example' is no name of this service")
    assert client("shop.example", allowed_hosts="shop.example").get("/").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        ({"Origin": "http://localhost:8000"}, 200),
        ({"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://localhost:8001"}, 403),
        ({"Origin": "http://localhost:8001", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}, 200),
        ({"Origin": "https://shop.example.evil"}, 403),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_who_may_write(headers, status, method):
    answer = client(allowed_origins="https://shop.example").request(method, "/", headers=headers)
    assert answer.status_code == status
    assert client().get("/", headers=headers).status_code == 200, "what only reads is not refused: it cannot be read"


@pytest.mark.parametrize(("origin", "open_"), [(None, True), ("http://localhost:8000", True), ("http://evil", False)])
def test_a_socket_is_for_ones_own_pages(origin, open_):
    headers = {} if origin is None else {"Origin": origin}
    try:
        with client().websocket_connect("ws://localhost:8000/socket", headers=headers | {"Sec-Fetch-Site": "none"}):
            assert open_
    except WebSocketDisconnect:
        assert not open_


def test_a_socket_under_another_name_is_refused():
    with (
        pytest.raises(WebSocketDisconnect),
        client("evil.example").websocket_connect("ws://evil.example/socket", headers={"Origin": "http://evil.example"}),
    ):
        pass


def test_no_other_site_may_frame_it():
    headers = client().get("/").headers
    assert headers["content-security-policy"] == "frame-ancestors 'self'"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers.get_list("x-content-type-options") == ["nosniff"]
    framed = client(allowed_origins="https://shop.example").get("/").headers
    assert framed["content-security-policy"] == "frame-ancestors 'self' https://shop.example"
    assert "x-frame-options" not in framed
