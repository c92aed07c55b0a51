"""Hosts on one machine: network namespaces, and lines from each to a centre that delay, lose or cut what they carry.

A line is two TUN devices and a thread that carries packets from one to the other, because not every kernel has netem.
Linux alone, as root.
"""

import fcntl
import os
import random
import selectors
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

TUNSETIFF = 0x400454CA
TUN_WITHOUT_HEADER = 0x1001
LARGEST = 65_536  # bytes of a packet
LONGEST_WAIT = 0.1  # seconds from one look whether to end to the next


@dataclass
class Line:
    """What a line does to packets, in both directions; it may be changed at any time.

    Attributes:
        delay: seconds that a packet is under way.
        loss: the share of packets that do not arrive.
        cut: whether none does.
        carried: bytes that arrived, to the centre and from it.
        lost: packets that did not.
    """

    delay: float = 0.0
    loss: float = 0.0
    cut: bool = False
    carried: list[int] = field(default_factory=lambda: [0, 0])
    lost: int = 0


@dataclass(frozen=True)
class _End:
    """One end of a line: where packets are read, where they go, and in which direction that is."""

    line: Line
    other: int
    to_centre: bool


class Hosts:
    """A centre, and hosts that reach nothing but the centre, each by a line of its own.

    Args:
        names: of the hosts.
        seed: of what is lost.

    Attributes:
        lines: by host.
    """

    def __init__(self, names: Sequence[str], seed: int = 0) -> None:
        self.names = tuple(names)
        self.lines = {name: Line() for name in names}
        self._random = random.Random(seed)
        self._ending = threading.Event()
        self._under_way: deque[tuple[float, int, bytes]] = deque()
        self._prefix = f"fm{os.getpid()}"

    @contextmanager
    def connected(self) -> Iterator["Hosts"]:
        """Make them, and remove them at the end; what runs in them has to have ended."""
        selector, files = selectors.DefaultSelector(), list[int]()
        try:
            for name in ("centre", *self.names):
                _ip("netns", "add", self._namespace(name))
                _ip("-n", self._namespace(name), "link", "set", "lo", "up")
            for number, name in enumerate(self.names):
                here, there = self._device(number, "c", "centre"), self._device(number, "h", name)
                files += [here, there]
                selector.register(here, selectors.EVENT_READ, _End(self.lines[name], there, to_centre=False))
                selector.register(there, selectors.EVENT_READ, _End(self.lines[name], here, to_centre=True))
            carrier = threading.Thread(target=self._carry, args=(selector,), daemon=True)
            carrier.start()
            yield self
            self._ending.set()
            carrier.join()
        finally:
            self._ending.set()
            for file in files:
                os.close(file)
            for name in ("centre", *self.names):
                with suppress(subprocess.CalledProcessError):
                    _ip("netns", "del", self._namespace(name))

    def on(self, name: str, command: Sequence[str]) -> list[str]:
        """Make the command that runs another one on a host."""
        return ["ip", "netns", "exec", self._namespace(name), *command]

    def centre_of(self, name: str) -> str:
        """Tell the address by which a host reaches the centre."""
        return f"10.77.{self.names.index(name)}.1"

    def _namespace(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _device(self, number: int, side: str, host: str) -> int:
        """Make one end of a host's line; its open file."""
        name, namespace = f"{self._prefix}{side}{number}", self._namespace(host)
        file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH", name.encode(), TUN_WITHOUT_HEADER))
        addresses = [f"10.77.{number}.{end}" for end in (1, 2)]
        own, peer = addresses if side == "c" else reversed(addresses)
        _ip("link", "set", name, "netns", namespace)
        _ip("-n", namespace, "addr", "add", own, "peer", peer, "dev", name)
        _ip("-n", namespace, "link", "set", name, "up")
        return file

    def _carry(self, selector: selectors.BaseSelector) -> None:
        while not self._ending.is_set():
            wait = self._under_way[0][0] - time.monotonic() if self._under_way else LONGEST_WAIT
            for key, _ in selector.select(min(max(wait, 0.0), LONGEST_WAIT)):
                self._take(key.fd, key.data)
            self._deliver(time.monotonic())

    def _take(self, file: int, end: _End) -> None:
        """Read what is there to be carried; some of it is lost."""
        with suppress(BlockingIOError):
            while packet := os.read(file, LARGEST):
                if end.line.cut or self._random.random() < end.line.loss:
                    end.line.lost += 1
                    continue
                end.line.carried[not end.to_centre] += len(packet)
                self._put(time.monotonic() + end.line.delay, end.other, packet)

    def _put(self, due: float, file: int, packet: bytes) -> None:
        """Keep the order of time, also after a delay has become shorter."""
        place = len(self._under_way)
        while place and self._under_way[place - 1][0] > due:
            place -= 1
        self._under_way.insert(place, (due, file, packet))

    def _deliver(self, now: float) -> None:
        while self._under_way and self._under_way[0][0] <= now:
            _, file, packet = self._under_way.popleft()
            with suppress(OSError):  # the device takes no more, as a line that is full
                os.write(file, packet)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def possible() -> bool:
    """Say whether this machine lets this process make hosts."""
    return Path("/dev/net/tun").exists() and os.geteuid() == 0 and _makes_namespaces()


def _makes_namespaces() -> bool:
    name = f"fm{os.getpid()}-try"
    try:
        _ip("netns", "add", name)
        _ip("netns", "del", name)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True
