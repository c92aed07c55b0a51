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

from dashboard.logo import WORDMARK
from dashboard.theme import DARK, LIGHT, ON_PRIMARY
from web.rate_limit import RateLimit

COOKIE = "fedmem_dashboard"
SIGN_IN = "/sign-in"
OPEN = (SIGN_IN, "/_stcore/health")
VALID_SECONDS = 12 * 3600
TRIES_A_MINUTE = 10  # of one address
LONGEST_FORM = 4096
STYLE = """:root{color-scheme:light dark;LIGHT}
@media (prefers-color-scheme:dark){:root{DARK}}
html{background:var(--page);color:var(--ink)}
body{font:16px/1.5 "Source Sans",sans-serif;max-width:20rem;margin:15vh auto;padding:0 1rem}
h1{margin:0 0 1.5rem;line-height:0}
input,button{font:inherit;width:100%;box-sizing:border-box;padding:.5rem .75rem;margin:.25rem 0 .75rem;
border:1px solid color-mix(in srgb,var(--ink) 25%,transparent);border-radius:.5rem}
input{background:var(--field);color:var(--ink)}
button{background:var(--primary);border-color:var(--primary);color:var(--on-primary);cursor:pointer}
:focus-visible{outline:2px solid var(--primary);outline-offset:1px}"""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>FedMem: sign in</title><style>{style}</style><h1 aria-label="FedMem">{logo}</h1>
<form method="post" action="{action}"><label>Password of the dashboard
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
        page = PAGE.format(style=_style(), logo=WORDMARK, action=f"{self.root}{SIGN_IN}", said=escape(said))
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


def _style() -> str:
    """Put the dashboard's colours into the page's style, those of a dark page where the reader prefers one."""
    style = STYLE
    for mode, theme in (("light", LIGHT), ("dark", DARK)):
        named = {
            "page": theme["backgroundColor"],
            "field": theme["secondaryBackgroundColor"],
            "ink": theme["textColor"],
            "primary": theme["primaryColor"],
            "on-primary": ON_PRIMARY[mode],
        }
        style = style.replace(mode.upper(), "".join(f"--{name}:{colour};" for name, colour in named.items()))
    return style


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            return b""
    return body
