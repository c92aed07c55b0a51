"""Websockets whose other ends are gone, do not read or have nothing to say: each for so long only.

uvicorn asks every 20 seconds whether the other end is there, and gives up after 20 more; but it then waits for what is
still to be sent, and one that answers may stay for ever.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from web.connections import PatientConfig

LAST_SECONDS = 2.0  # that a farewell has to be read
GOING_AWAY = 1001  # RFC 6455


class PatientWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's protocol, which ends a websocket that is not read, is not answered on, or is silent for too long."""

    config: "PatientConfig"

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.patience = self.config.patience
        self.last_message = self.loop.time()
        self._silent: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        """From where it was opened, as a trusted proxy says."""
        found = self.scope["client"] if self.handshake_initiated else self.client
        return found[0] if found else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a message."""
        super().connection_made(transport)
        self._note_message()
        self._await_message()

    def give_way(self) -> None:
        """End it at once, for another one."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        super().connection_lost(exc)
        self.patience.websockets.pop(self, None)
        for timer in (self._silent, self._unread):
            if timer is not None:
                timer.cancel()

    def send_receive_event_to_app(self) -> None:
        """Hand a message on."""
        self._note_message()
        super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        """Send a message."""
        self._note_message()
        await super().send(message)

    def pause_writing(self) -> None:
        """Wait until the other end reads on, not for ever."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.patience.body_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def keepalive_timeout(self) -> None:
        """End it where a ping is not answered, whether or not what was sent before is ever read."""
        super().keepalive_timeout()
        self.loop.call_later(LAST_SECONDS, self.transport.abort)

    def _note_message(self) -> None:
        if not self.disconnected:
            self.last_message = self.loop.time()
            self.patience.websockets.pop(self, None)
            self.patience.websockets[self] = None

    def _await_message(self) -> None:
        """End it where there was no message for too long, else look again when that may be."""
        left = self.last_message + self.patience.websocket_seconds - self.loop.time()
        if left > 0:
            self._silent = self.loop.call_later(left, self._await_message)
        else:
            self._say_farewell()

    def _say_farewell(self) -> None:
        if not self.close_sent and not self.transport.is_closing():
            self.conn.send_close(GOING_AWAY, "silent for too long")
            self.close_sent = True
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()
        self.loop.call_later(LAST_SECONDS, self.transport.abort)
