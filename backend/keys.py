"""Who may do what: the keys of the environment, and named ones in a file that is read again whenever it has changed.

A key is compared by its SHA-256. Those of the file are made by ``fedmem keys new`` from 256 random bits, which need no
slower digest; a file that is lost gives no key away.
"""

import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from pathlib import Path
from typing import Literal

from backend.errors import ApiKeyError, ForbiddenError
from backend.settings import Settings
from fedmem.errors import ConfigError

LOG = logging.getLogger(__name__)
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
Reading = Literal["", "open", "closed"]
SAYINGS: Mapping[str, Reading] = {"reading open": "open", "reading closed": "closed"}
_LINE = re.compile(rf"(?P<name>{NAME.pattern}) (?P<access>read|write) sha256:(?P<digest>[0-9a-f]{{64}})")


class Access(IntEnum):
    """What a key is good for; one that writes also reads, and sees what is stored of users."""

    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Key:
    """A key by its digest, and the name under which the log has what is done with it."""

    name: str
    access: Access
    digest: str

    def line(self) -> str:
        """Write it as a line of the file."""
        return f"{self.name} {self.access.name.lower()} sha256:{self.digest}"


def digest(key: bytes) -> str:
    """Compute what stands for a key in the file."""
    return sha256(key).hexdigest()


@dataclass(frozen=True)
class KeyRing:
    """What a file of keys says.

    Attributes:
        keys: by name.
        reading: whether what reads needs a key where none is for reading alone; empty where the file does not say.
    """

    keys: Mapping[str, Key] = field(default_factory=dict)
    reading: Reading = ""

    @property
    def reads(self) -> tuple[str, ...]:
        """Name the keys that may only read."""
        return tuple(key.name for key in self.keys.values() if key.access is Access.READ)

    def text(self) -> str:
        """Write it as the file."""
        lines = [f"reading {self.reading}"] if self.reading else []
        return "".join(f"{line}\n" for line in (*lines, *(key.line() for key in self.keys.values())))


def read_keys(path: Path) -> KeyRing:
    """Read a file of keys; empty lines and those that begin with # are passed over.

    Raises:
        ConfigError: if it cannot be read; or naming a line, which is not shown: it may be a key.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file of keys {path} cannot be read ({error}); FEDMEM_KEYS_FILE names it") from None
    keys: dict[str, Key] = {}
    reading: Reading = ""
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if (said := line.strip()) in SAYINGS:
            reading = SAYINGS[said]
            continue
        key = _key_of(line, f"{path}, line {number}")
        if key.name in keys:
            raise ConfigError(f"{path}, line {number}: the name {key.name!r} stands twice; give each key its own")
        keys[key.name] = key
    return KeyRing(keys, reading)


def _key_of(line: str, where: str) -> Key:
    found = _LINE.fullmatch(line.strip())
    if found is None:
        raise ConfigError(f"{where}: expected NAME read|write sha256:DIGEST, as `fedmem keys new NAME` writes it")
    return Key(found["name"], Access[found["access"].upper()], found["digest"])


@dataclass
class KeyFile:
    """The keys of a file as it is now; where it cannot be read any more, those of before.

    Attributes:
        closed: whether what reads needs a key. Once it does, only ``reading open`` in the file ends that.
        trouble: what is wrong with the file, in a sentence.
    """

    path: Path
    closed: bool = False
    trouble: str = ""
    _stamp: tuple[int, ...] = ()
    _keys: tuple[Key, ...] = ()

    def keys(self) -> tuple[Key, ...]:
        """Return the keys; the file is read where it is another than at the last look.

        Raises:
            ConfigError: if it cannot be read at the first time.
        """
        stamp = _stamp_of(self.path)
        if stamp != self._stamp:
            first, self._stamp = not self._stamp, stamp
            self._read(first)
        return self._keys

    def _read(self, first: bool) -> None:
        try:
            self._take(read_keys(self.path))
        except ConfigError as error:
            if first:
                raise
            self.trouble = "the file of keys cannot be read: the keys of before stay valid"
            LOG.error("%s; the keys of before stay valid", error)

    def _take(self, ring: KeyRing) -> None:
        self._keys, self.trouble = tuple(ring.keys.values()), ""
        if ring.reads or ring.reading:
            self.closed = bool(ring.reads) or ring.reading == "closed"
        elif self.closed:
            self.trouble = (
                "the file of keys has no key for reading any more: reading stays closed, but to keys that write; "
                "`fedmem keys remove NAME --open` opens it"
            )
            LOG.error("%s: %s", self.path, self.trouble)
        reading = "closed but to them" if self.closed else "open to all by this file"
        LOG.info("%d keys are read from %s: reading is %s", len(self._keys), self.path, reading)


def _stamp_of(path: Path) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return (0,)
    return found.st_mtime_ns, found.st_size, found.st_ino


@dataclass
class Keys:
    """Every key that opens this backend."""

    fixed: tuple[Key, ...] = ()
    file: KeyFile | None = None
    _known: tuple[Key, ...] = ()
    _by_digest: Mapping[str, Key] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> "Keys":
        """Read the settings' keys, those of the file too.

        Raises:
            ConfigError: if the file cannot be read.
        """
        given = (
            ("FEDMEM_READ_KEY", Access.READ, settings.read_key),
            ("FEDMEM_API_KEY", Access.WRITE, settings.api_key),
        )
        fixed = (Key(name, access, digest(key.get_secret_value().encode())) for name, access, key in given if key)
        keys = cls(tuple(fixed), None if settings.keys_file is None else KeyFile(settings.keys_file))
        keys._look()
        return keys

    def demand(self, access: Access, given: str | None) -> str | None:
        """Return the name of the key that allows a request, None where it needs none.

        Raises:
            ApiKeyError: if there is no key, or an unknown one.
            ForbiddenError: if the key is good for less.
        """
        self._look()
        if not self._locked(access):
            return None
        if given is None:
            raise ApiKeyError(f"this request {_DOES[access]}: send the header X-API-Key with a key that may")
        key = self._by_digest.get(digest(given.encode("latin-1")))
        if key is None:
            raise ApiKeyError("the value of X-API-Key is no key of this installation")
        if key.access < access:
            raise ForbiddenError(f"this request {_DOES[access]}, and the key {key.name} may only read")
        return key.name

    def _locked(self, access: Access) -> bool:
        """Say whether a key is asked for: to write as soon as there is any, to read once there was one for it."""
        if access is Access.WRITE:
            return bool(self.fixed) or self.file is not None
        return any(key.access is access for key in self.fixed) or (self.file is not None and self.file.closed)

    def troubles(self) -> tuple[str, ...]:
        """Say what is wrong with the file of keys."""
        self._look()
        return (self.file.trouble,) if self.file is not None and self.file.trouble else ()

    def _look(self) -> None:
        known = (*self.fixed, *(self.file.keys() if self.file is not None else ()))
        if known != self._known:
            self._known, self._by_digest = known, _by_digest(known)


_DOES = {Access.READ: "reads", Access.WRITE: "writes, or shows what is stored of a user"}


def _by_digest(keys: Iterable[Key]) -> dict[str, Key]:
    """Look keys up; where one stands twice, the name that may do more counts."""
    return {key.digest: key for key in sorted(keys, key=lambda key: key.access)}
