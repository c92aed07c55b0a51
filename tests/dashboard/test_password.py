"""The dashboard's password, around a small application."""

import re

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboard.password import COOKIE, TRIES_A_MINUTE, VALID_SECONDS, PasswordProtected
from dashboard.settings import Settings
from dashboard.theme import DARK, LIGHT
from fedmem.errors import ConfigError
from tests.clock import Clock


async def here(request) -> PlainTextResponse:
    return PlainTextResponse("here")


async def socket(connection: WebSocket) -> None:
    await connection.accept()
    await connection.send_text("open")


def client(password: str = "let me in", scheme: str = "http", clock=None, root: str = "") -> TestClient:
    routes = [Route("/{path:path}", here), WebSocketRoute("/_stcore/stream", socket)]
    app = PasswordProtected(Starlette(routes=routes), password, root, clock or Clock(1e9))
    return TestClient(app, base_url=f"{scheme}://localhost", follow_redirects=False)


def sign_in(client: TestClient, password: str = "let me in"):
    return client.post("/sign-in", data={"password": password})


def test_nothing_is_shown_without_it():
    asking = client()
    for path in ("/", "/media/a.jpg", "/_stcore/upload_file/1", "/sign-in"):
        answer = asking.get(path)
        assert (answer.status_code, "Password" in answer.text) == (401, True)
    with pytest.raises(WebSocketDisconnect), asking.websocket_connect("ws://localhost/_stcore/stream"):
        pass
    assert asking.get("/_stcore/health").text == "here"


@pytest.mark.parametrize("password", ["let me in", "pässword & =+%", "x" * 200])
def test_who_gives_it_is_let_in(password):
    asking = client(password)
    assert sign_in(asking, f"{password}x").status_code == 401
    assert asking.get("/").status_code == 401
    answer = sign_in(asking, password)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert asking.get("/").text == "here"
    with asking.websocket_connect("ws://localhost/_stcore/stream"):
        pass


def test_it_is_asked_for_again_after_a_while_and_after_a_change():
    clock = Clock(1e9)
    asking = client(clock=clock)
    sign_in(asking)
    clock.now += VALID_SECONDS - 1
    assert asking.get("/").status_code == 200
    other = client("another", clock=clock)
    other.cookies = asking.cookies
    assert other.get("/").status_code == 401
    clock.now += 2
    assert asking.get("/").status_code == 401


@pytest.mark.parametrize("ticket", ["", ".", "9999999999", "9999999999.", "9999999999.0", "nan.0", "é.é", "1.2.3"])
def test_a_made_up_ticket_is_none(ticket):
    assert client().get("/", headers={"Cookie": f"{COOKIE}={ticket}".encode()}).status_code == 401


def test_it_cannot_be_guessed_by_trying():
    asking = client()
    said = [sign_in(asking, "wrong").status_code for _ in range(TRIES_A_MINUTE + 1)]
    assert said == [401] * TRIES_A_MINUTE + [429]
    assert sign_in(asking).status_code == 429


def test_a_form_that_is_none():
    asking = client()
    assert asking.post("/sign-in", content=b"password=" + b"x" * 10_000).status_code == 401
    assert asking.post("/sign-in", content=b"\xff\x00").status_code == 401


def test_over_tls_the_cookie_stays_there():
    assert "Secure" in sign_in(client(scheme="https")).headers["set-cookie"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7"])
def test_beyond_loopback_a_password_is_needed(monkeypatch, tmp_path, host):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDMEM_DASHBOARD_HOST", host)
    with pytest.raises(ConfigError, match="set FEDMEM_DASHBOARD_PASSWORD, or listen on"):
        Settings.load()
    monkeypatch.setenv("FEDMEM_DASHBOARD_PASSWORD", "secret-one")
    assert Settings.load().host == host
    assert "secret-one" not in repr(Settings.load())


def test_behind_a_proxy_a_password_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Settings.load().warning is None
    monkeypatch.setenv("FEDMEM_TRUSTED_PROXIES", "127.0.0.1")
    assert "FEDMEM_DASHBOARD_PASSWORD" in (Settings.load().warning or "")
    monkeypatch.setenv("FEDMEM_DASHBOARD_PASSWORD", "secret-one")
    assert Settings.load().warning is None


def test_behind_a_prefix_the_form_and_the_cookie_are_the_prefixs():
    asking = client(root="/fedmem")
    assert 'action="/fedmem/sign-in"' in asking.get("/").text
    answer = sign_in(asking)
    assert answer.headers["location"] == "/fedmem/"
    assert "Path=/fedmem;" in answer.headers["set-cookie"]


def test_the_page_has_the_dashboards_colours_light_and_dark_and_its_sign():
    page = client().get("/").text
    light, dark = re.search(r":root\{color-scheme:light dark;(.*?)\}.*?dark\)\{:root\{(.*?)\}", page, re.S).groups()
    for told, theme in ((light, LIGHT), (dark, DARK)):
        assert f"--page:{theme['backgroundColor']};" in told
        assert f"--ink:{theme['textColor']};" in told
    assert "<svg" in page
    assert ">FedMem</text>" in page
