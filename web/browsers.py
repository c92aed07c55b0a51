"""Which requests a browser may have been talked into by a page of another site, and are refused.

Every page that a developer opens can send requests to what listens on the same machine. It cannot read the answers,
unless its host's name is made to mean this machine (rebinding), and need not read them where it writes. So a request
must name a host that is ours, one that writes must not come from another origin, and no other site may frame a page.
"""

import socket
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.settings import WebSettings, parts

READING = ("GET", "HEAD", "OPTIONS")
OWN_PAGE = ("same-origin", "none")  # of Sec-Fetch-Site; none is a reader who typed the address

Refuse = Callable[[Scope, str], Response]


class Hosts:
    """The names by which a service may be addressed.

    An address in numbers is always one of them, for no name that an attacker owns leads to it. Starlette's
    ``TrustedHostMiddleware`` knows neither these nor IPv6.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._any = "*" in names
        self._names = {"localhost", socket.gethostname().lower(), *(name.lower() for name in names)}
        self._endings = (".localhost", *(name[1:].lower() for name in names if name.startswith("*.")))

    def allow(self, host: str) -> bool:
        """Say whether the value of a Host header names this service."""
        name = _name(host)
        return self._any or name in self._names or name.endswith(self._endings) or _is_address(name)


def _name(host: str) -> str:
    """Leave out the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


@lru_cache(1024)
def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class BrowserGuard:
    """Refuses what a foreign page may have sent, and forbids other sites to frame what is answered.

    A browser says where a request comes from in ``Sec-Fetch-Site`` and ``Origin``, which no page can change; a program
    sends neither.
    """

    def __init__(self, app: ASGIApp, settings: WebSettings, refuse: Refuse) -> None:
        self.app = app
        self.refuse = refuse
        self.hosts = Hosts(parts(settings.allowed_hosts))
        self.origins = frozenset(parts(settings.allowed_origins))
        ancestors = " ".join(("'self'", *sorted(self.origins)))
        self._headers = [(b"content-security-policy", f"frame-ancestors {ancestors}".encode())]
        self._headers += [] if self.origins else [(b"x-frame-options", b"SAMEORIGIN")]
        self._headers.append((b"x-content-type-options", b"nosniff"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if wrong := self._wrong(scope):
            await self.refuse(scope, wrong)(
                scope, receive, send
            )  # before it is accepted, a websocket is refused by 403
            return
        await self.app(scope, receive, self._with_headers(send))

    def _wrong(self, scope: Scope) -> str:
        """Say in a sentence why a request is refused; nothing if it is not."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host"), headers.get("origin")
        if host is not None and not self.hosts.allow(host):
            return f"{_name(host)!r} is no name of this service: FEDMEM_ALLOWED_HOSTS lists those that it answers to"
        if scope.get("method") in READING or origin in self.origins:
            return ""
        site = headers.get("sec-fetch-site") if scope["type"] == "http" else None
        if site in OWN_PAGE or (site is None and (origin is None or urlsplit(origin).netloc == host)):
            return ""
        return f"a page of {origin or 'another site'} may not write here: FEDMEM_ALLOWED_ORIGINS lists those that may"

    def _with_headers(self, send: Send) -> Send:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message.get("headers", ())}
                message["headers"] = [
                    *message.get("headers", ()),
                    *(header for header in self._headers if header[0] not in there),
                ]
            await send(message)

        return send_with_headers
