"""Websockets whose other ends are gone, do not read or say nothing, over real sockets: none is held for ever."""

import contextlib
import socket
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.waiting import PATIENCE, until
from tests.web.test_connections import BIG, all_of, application, caller, serving
from web import connections, websockets
from web.websockets import GOING_AWAY, PatientWebSocket

UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
AT_ONCE = {"ws_ping_interval": 0.05, "ws_ping_timeout": 0.05}


async def echo(scope, receive, send) -> None:
    """Answer each message with itself; at /big with a lot before any."""
    if scope["type"] == "http":
        await application(scope, receive, send)
        return
    await send({"type": "websocket.accept"})
    if scope["path"] == "/big":
        await send({"type": "websocket.send", "text": "x" * BIG})
    assert (await receive())["type"] == "websocket.connect"
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


@contextlib.contextmanager
def echoing(**settings) -> Iterator[tuple[uvicorn.Server, int]]:
    options = {"ws": PatientWebSocket, **settings.pop("options", {})}
    with serving(echo, options, **settings) as (server, port):
        yield server, port


@contextlib.contextmanager
def raw(port: int, path: bytes) -> Iterator[socket.socket]:
    """The other end of a websocket that answers no ping: no library does it for this one."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(UPGRADE % path)
        assert connection.recv(12) == b"HTTP/1.1 101"
        yield connection


def page(port: int, address: str = "127.0.0.1") -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}/", source_address=(address, 0), compression=None)


def answer(peer: ClientConnection) -> str | bytes:
    peer.send("still there")
    return peer.recv(PATIENCE)


@pytest.mark.parametrize("path", [b"/", b"/big"], ids=["reads nothing", "reads nothing of what is sent before"])
def test_one_that_answers_no_ping_is_let_go(path, monkeypatch):
    monkeypatch.setattr(websockets, "LAST_SECONDS", 0.1)
    with echoing(options=AT_ONCE) as (server, port), raw(port, path):
        until(lambda: not server.server_state.connections, "its end")
        assert not server.config.patience.websockets


def test_one_that_does_not_read_is_let_go():
    with echoing(body_seconds=0.2, options={"ws_ping_interval": None}) as (server, port), raw(port, b"/big"):
        until(lambda: not server.server_state.connections, "its end")


def test_one_that_answers_pings_and_says_nothing_is_let_go_and_told_why():
    with echoing(websocket_seconds=0.2, options=AT_ONCE) as (server, port), page(port) as silent:
        with pytest.raises(ConnectionClosed) as closed:
            silent.recv(PATIENCE)
        assert closed.value.rcvd.code == GOING_AWAY
        until(lambda: not server.server_state.connections, "its end")


def test_beyond_the_most_connections_the_address_that_has_most_pages_gives_one():
    with echoing(max_connections=4) as (server, port), contextlib.ExitStack() as stack:
        other = stack.enter_context(page(port))
        greedy = [stack.enter_context(page(port, "127.0.0.2")) for _ in range(3)]
        assert answer(greedy[0]) == "still there"
        assert httpx.get(f"http://127.0.0.1:{port}/").text == "127.0.0.1"
        with pytest.raises(ConnectionClosed):
            greedy[1].recv(PATIENCE)
        assert {one.address for one in server.config.patience.websockets} == {"127.0.0.1", "127.0.0.2"}
        for kept in (other, greedy[2], greedy[0]):
            assert answer(kept) == "still there"


def test_a_page_gives_way_before_a_caller_who_has_just_come_and_not_said_all(monkeypatch):
    monkeypatch.setattr(connections, "SOON", PATIENCE)
    with echoing(max_connections=4) as (server, port), contextlib.ExitStack() as stack:
        greedy = [stack.enter_context(page(port, "127.0.0.2")) for _ in range(3)]
        half = stack.enter_context(caller(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n"))
        until(lambda: len(server.server_state.connections) == 4, "the connection")
        assert httpx.get(f"http://127.0.0.1:{port}/").text == "127.0.0.1"
        with pytest.raises(ConnectionClosed):
            greedy[0].recv(PATIENCE)
        half.sendall(b"Connection: close\r\n\r\n")
        assert all_of(half).startswith(b"HTTP/1.1 200 ")


def test_where_each_address_has_one_page_the_new_caller_is_refused():
    addresses = ("127.0.0.2", "127.0.0.3")
    with echoing(max_connections=2) as (_, port), contextlib.ExitStack() as stack:
        for address in addresses:
            stack.enter_context(page(port, address))
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 503
