"""A path before an application's own, by which a reverse proxy tells services of one host apart."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

_SEGMENT = "[A-Za-z0-9._~-]+"


def checked_prefix(value: str) -> str:
    """Check a prefix as a setting has it: ``/shop/api``, or nothing.

    Raises:
        ValueError: if it is neither.
    """
    if value and not re.fullmatch(f"(/{_SEGMENT})+", value):
        raise ValueError("it begins with a slash, ends without one, and has letters, digits and . _ ~ - between: /api")
    return value


class PathPrefix:
    """Takes a prefix off the paths of requests, whether the proxy has handed it on or cut it off before.

    What stands inside sees its own paths alone, and who asks past the proxy, a probe say, needs no prefix.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and f"{scope['path']}/".startswith(f"{self.prefix}/"):
            scope = {**scope, "path": self._cut(scope["path"]) or "/"}
            if "raw_path" in scope:
                scope["raw_path"] = self._cut(scope["raw_path"].decode("latin-1")).encode("latin-1") or b"/"
        await self.app(scope, receive, send)

    def _cut(self, path: str) -> str:
        return path.removeprefix(self.prefix)
