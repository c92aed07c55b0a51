"""Callers who keep a server waiting, over real sockets: they are let go, and all others are answered."""

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from unittest.mock import Mock

import httpx
import pytest
import uvicorn
from uvicorn.server import ServerState

from fedmem.sockets import bound_socket
from tests.waiting import PATIENCE, until
from web.connections import PART, PatientProtocol, open_files
from web.server import config
from web.settings import WebSettings

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
BIG = 32 * 2**20


async def application(scope, receive, send) -> None:
    """Answer with the address of who asks, once the body is read; at /unread without reading, at /big with a lot."""
    while scope["path"] == "/" and (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass
    body = b"x" * BIG if scope["path"] == "/big" else scope["client"][0].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def serving(app=application, options=None, **settings) -> Iterator[tuple[uvicorn.Server, int]]:
    chosen = WebSettings(_env_file=None, **settings)
    server = uvicorn.Server(config(app, chosen, lifespan="off", **{"ws": "none"} | (options or {})))
    with bound_socket("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            until(lambda: server.started, "the server")
            yield server, listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


def caller(port: int, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
    connection.sendall(sent)
    return connection


def all_of(connection: socket.socket) -> bytes:
    """What comes until the server ends the connection."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(2**16):
            got += part
    return got


@pytest.fixture(scope="module")
def impatient() -> Iterator[int]:
    with serving(head_seconds=0.2, body_seconds=0.2) as (_, port):
        yield port


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", HEAD, HEAD + b"Content-Length: 9\r\n\r\n", HEAD + b"Content-Length: 9\r\n\r\n1234"],
    ids=["nothing", "part of a line", "part of a head", "no body", "part of a body"],
)
def test_what_does_not_come_is_not_waited_for(impatient, sent):
    with caller(impatient, sent) as connection:
        assert all_of(connection).startswith(b"HTTP/1.1 408 ")


def test_a_byte_now_and_then_gives_no_more_time(impatient):
    with caller(impatient, HEAD) as connection, contextlib.suppress(ConnectionError):
        connection.settimeout(0.05)

        def answered() -> bytes | None:
            connection.sendall(b"X")
            with contextlib.suppress(TimeoutError):
                return connection.recv(100)
            return None

        assert until(answered, "the end of the patience").startswith(b"HTTP/1.1 408 ")


def test_a_mebibyte_of_a_body_gives_as_much_time_again():
    class Loop:
        def time(self):
            return 0.0

        def call_later(self, seconds, *call):
            return Mock(seconds=seconds)

    chosen = config(application, WebSettings(_env_file=None), ws="none")
    protocol = PatientProtocol(chosen, ServerState(), {}, _loop=Loop())
    protocol._wait_for("body", 1)
    first = protocol._deadline
    protocol._wait_for("body", PART - 1)
    assert protocol._deadline is first
    protocol._wait_for("body", 1)
    assert first.cancel.called
    assert (protocol._deadline is not first, protocol._deadline.seconds) == (True, chosen.patience.body_seconds)


def test_the_rest_of_a_body_that_is_not_read_is_not_waited_for_either(impatient):
    with caller(impatient, b"POST /unread HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nx") as connection:
        assert all_of(connection).startswith(b"HTTP/1.1 200 ")


def test_who_reads_nothing_is_let_go():
    with serving(body_seconds=0.2) as (server, port), caller(port, b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        until(lambda: server.server_state.connections, "the connection")
        until(lambda: not server.server_state.connections, "its end")


def test_who_sends_and_reads_is_answered_and_waited_for_anew():
    """One after the other on one connection, a body in parts too."""
    with serving() as (server, port), httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(3):
            assert client.get("/").text == "127.0.0.1"
            assert client.post("/", content=iter([b"a"] * 3)).text == "127.0.0.1"
        until(lambda: len(server.config.patience.waiting) == 1, "the wait for the next head, and for nothing else")


def test_beyond_the_most_connections_the_one_that_waits_longest_gives_way():
    with serving(max_connections=5) as (server, port), contextlib.ExitStack() as stack:
        halves = []
        for _ in range(8):
            halves.append(stack.enter_context(caller(port, HEAD)))
            until(lambda: len(server.server_state.connections) >= min(len(halves), 5), "the connection")
        assert [all_of(half)[:12] for half in halves[:3]] == [b"HTTP/1.1 408"] * 3
        assert httpx.get(f"http://127.0.0.1:{port}/").text == "127.0.0.1"
        halves[-1].sendall(b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        assert all_of(halves[-1]).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("trusted", "seen"), [("", "127.0.0.1"), ("10.0.0.1", "127.0.0.1"), ("127.0.0.1", "1.2.3.4")])
def test_a_forwarded_address_is_believed_of_trusted_proxies_only(trusted, seen):
    with serving(trusted_proxies=trusted) as (_, port):
        forwarded = {"X-Forwarded-For": "6.6.6.6, 1.2.3.4"}
        assert httpx.get(f"http://127.0.0.1:{port}/", headers=forwarded).text == seen


def test_the_limit_of_open_files_is_raised_as_far_as_may_be(monkeypatch):
    limits, asked = {}, []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: asked.append(pair))
    for limits["now"], found in (((256, 4096), 1384), ((256, 512), 512), ((9999, 9999), 1384), ((256, -1), 1384)):
        assert open_files(1384) == found
    assert asked == [(1384, 4096), (512, 512), (1384, -1)]
