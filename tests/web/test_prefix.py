"""The path before an application's own, around a small application."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from web.prefix import PathPrefix, checked_prefix


async def seen(request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.scope['path']} {request.scope['raw_path'].decode()}")


async def socket(connection: WebSocket) -> None:
    await connection.accept()
    await connection.send_text("open")


@pytest.fixture(scope="module")
def client() -> TestClient:
    routes = [WebSocketRoute("/socket", socket), Route("/{path:path}", seen)]
    return TestClient(PathPrefix(Starlette(routes=routes), "/shop/api"))


@pytest.mark.parametrize(
    ("asked", "inside"),
    [
        ("/items/a%2Fb", "/items/a/b /items/a%2Fb"),
        ("/shop/api/items/a%2Fb", "/items/a/b /items/a%2Fb"),
        ("/shop/api/", "/ /"),
        ("/shop/api", "/ /"),
        ("/shop/apis", "/shop/apis /shop/apis"),
        ("/shop", "/shop /shop"),
        ("/shop/api/shop/api/x", "/shop/api/x /shop/api/x"),
    ],
)
def test_it_is_taken_off_once_where_it_is_there(client, asked, inside):
    assert client.get(asked).text == inside


@pytest.mark.parametrize("path", ["/socket", "/shop/api/socket"])
def test_so_it_is_for_websockets(client, path):
    with client.websocket_connect(f"ws://testserver{path}") as opened:
        assert opened.receive_text() == "open"


@pytest.mark.parametrize("value", ["api", "/", "/api/", "//api", "/a b", "/a%2Fb", "/a?b", "https://a/b"])
def test_what_is_no_prefix(value):
    with pytest.raises(ValueError, match="begins with a slash"):
        checked_prefix(value)


def test_what_is_one():
    assert [checked_prefix(value) for value in ("", "/api", "/a-b/c_1.0~")] == ["", "/api", "/a-b/c_1.0~"]
