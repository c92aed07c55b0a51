"""The password that opens the dashboard: a form, and a cookie that says for a while that it was given.

Around everything that the dashboard answers, websockets too. Streamlit's own sign-in needs an identity provider, and
not every browser sends an HTTP Basic password with a websocket that a page opens.
"""

import hmac
import time
from collections.abc import Callable
from hashlib import sha256
from html import escape
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from web.rate_limit import RateLimit

COOKIE = "fedmem_dashboard"
SIGN_IN = "/sign-in"
OPEN = (SIGN_IN, "/_stcore/health")
VALID_SECONDS = 12 * 3600
TRIES_A_MINUTE = 10  # of one address
LONGEST_FORM = 4096
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>FedMem: sign in</title><style>body{{font:16px sans-serif;max-width:22rem;margin:15vh auto;padding:0 1rem;
color-scheme:light dark}}input,button{{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;margin:.25rem 0}}
</style><h1>FedMem</h1><form method="post" action="{action}"><label>Password of the dashboard
<input type="password" name="password" autocomplete="current-password" autofocus required></label>
<button>Open</button></form><p role="alert">{said}</p></html>"""


class PasswordProtected:
    """Asks for the password before anything is shown."""

    def __init__(self, app: ASGIApp, password: str, root: str = "", clock: Callable[[], float] = time.time) -> None:
        self.app = app
        self.root = root
        self.clock = clock
        self._password = password.encode()
        self._tries = RateLimit(TRIES_A_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPEN[1:]:
            await self.app(scope, receive, send)
            return
        if scope["path"] == SIGN_IN and scope.get("method") == "POST":
            answer = await self._signed_in(Request(scope, receive))
        elif self._is_valid(HTTPConnection(scope).cookies.get(COOKIE, "")):
            await self.app(scope, receive, send)
            return
        else:
            answer = self._page("", 401)
        await answer(scope, receive, send)  # a websocket is refused by it

    async def _signed_in(self, request: Request) -> Response:
        if self._tries.take(request.client.host if request.client else ""):
            return self._page("Too many tries; wait a minute.", 429)
        form = parse_qs((await _body(request)).decode(errors="replace"))
        if not hmac.compare_digest(form.get("password", [""])[0].encode(), self._password):
            return self._page("That is not the password.", 401)
        answer = RedirectResponse(f"{self.root}/", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(
            COOKIE, self._ticket(), VALID_SECONDS, path=self.root or "/", httponly=True, samesite="lax", secure=secure
        )
        return answer

    def _page(self, said: str, status: int) -> Response:
        page = PAGE.format(action=f"{self.root}{SIGN_IN}", said=escape(said))
        return HTMLResponse(page, status, {"Cache-Control": "no-store"})

    def _ticket(self) -> str:
        until = str(int(self.clock()) + VALID_SECONDS)
        return f"{until}.{self._signature(until)}"

    def _is_valid(self, ticket: str) -> bool:
        until, _, signature = ticket.partition(".")
        signed = hmac.compare_digest(signature.encode(), self._signature(until).encode())
        return signed and float(until) > self.clock()

    def _signature(self, until: str) -> str:
        """Sign with the password, so that a new one ends every session."""
        return hmac.new(self._password, f"dashboard until {until}".encode(), sha256).hexdigest()


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            return b""
    return body
