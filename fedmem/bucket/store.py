"""A bucket, or what else fsspec reaches by a URL: bytes by name, and one error for whatever goes wrong."""

import json
import math
import os
import secrets
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fedmem.errors import BucketError, ConfigError

VARIABLE, S3 = "FEDMEM_BUCKET", ("s3", "s3a")
INSTALL = "pip install -c constraints.txt -e '.[bucket]'"
DENIED = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be of an account that may list, read, write and delete there"
NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "CredentialRetrievalError"}
CONNECT, ANSWER, TRIES = 5.0, 10.0, 2  # seconds until one connects, and until an answer comes; how often it is asked
PAUSE = 10.0  # seconds for which a bucket is not asked again that has not answered
WRITTEN, RATE = 30.0, 100_000  # seconds for a write, and one more for so many bytes: s3fs waits for ever to be let send
# Of s3fs: not to look at what it listed before, and to leave trying again to itself, not to botocore too.
PATIENCE = {"connect_timeout": CONNECT, "read_timeout": ANSWER, "retries": {"total_max_attempts": 1}}
OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"use_listings_cache": False, "config_kwargs": PATIENCE},
    "file": {"auto_mkdir": True},
}


class MissingError(BucketError):
    """A file is not there: it was removed, or never written."""


def checked_url(url: str) -> str:
    """Return a bucket's URL without a slash at its end.

    Raises:
        ValueError: if it is none, or holds a password.
    """
    protocol, separator, place = url.partition("://")
    if not separator or not protocol or not place.strip("/"):
        raise ValueError("expected a URL that fsspec reads, s3://BUCKET/FOLDER or file:///FOLDER")
    if protocol != "file" and "@" in place.partition("/")[0]:
        raise ValueError("a bucket's URL holds no password: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    return url.rstrip("/")


class Bucket:
    """What lies below a URL, by names with slashes.

    Args:
        url: as ``checked_url`` returned it.

    Raises:
        ConfigError: if what speaks its protocol is not installed, or there is no such protocol.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs  # which takes a while, and is for those who have a bucket

        self.url, protocol = url, url.partition("://")[0]
        options = OPTIONS.get("s3" if protocol in S3 else protocol, {})
        try:
            self._files, self._root = url_to_fs(url, skip_instance_cache=True, **options)
        except ImportError as error:
            install = INSTALL if protocol in S3 else str(error)
            raise ConfigError(f"{VARIABLE} = {url!r}: what reads {protocol}:// is not installed: {install}") from None
        except ValueError as error:
            raise ConfigError(f"{VARIABLE} = {url!r}: {error}") from None
        self._is_disk, self._quiet_until = protocol == "file", -math.inf
        if protocol in S3:
            self._files.retries = TRIES

    def check(self) -> None:
        """Write, list, read and delete a file of a few bytes.

        Raises:
            ConfigError: if the bucket is not there or does not let this process in: what no waiting mends.
            BucketError: if it cannot be reached.
        """
        name = f"check-{secrets.token_hex(8)}"
        try:
            self._files.pipe_file(self._path(name), b"FedMem", **self._within(0))
            self._files.cat_file(self._path(name))
            self._files.find(self._path(name))
            self._files.rm_file(self._path(name))
        except FileNotFoundError:
            raise ConfigError(f"{VARIABLE} = {self.url!r}: there is no such bucket: make it, or name another") from None
        except Exception as error:  # of classes of its own, where a library has them
            if isinstance(error, PermissionError) or type(error).__name__ in NO_CREDENTIALS:
                raise ConfigError(f"{VARIABLE} = {self.url!r}: access is refused: {DENIED}") from None
            raise self._error(error) from None

    def keeps_versions(self) -> bool:
        """Say whether the bucket keeps what is deleted, as far as can be known: deleted users would stay there."""
        ask = getattr(self._files, "is_bucket_versioned", None)
        try:
            return ask is not None and bool(ask(self._root.partition("/")[0]))
        except Exception:  # not every account may ask, and not every server knows of versions
            return False

    def names(self, folder: str) -> list[str]:
        """List all that is in a folder, at any depth, by its names below the URL."""
        with self._asked():
            root = self._path("")
            return sorted(str(path).removeprefix(root) for path in self._files.find(self._path(folder)))

    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            MissingError: if it is not there.
        """
        with self._asked():
            return bytes(self._files.cat_file(self._path(name)))

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON object as a whole, or not at all, as a bucket does by itself."""
        content, path = json.dumps(value, indent=0, sort_keys=True).encode(), self._path(name)
        with self._asked():
            if not self._is_disk:
                self._files.pipe_file(path, content, **self._within(len(content)))
                return
            beside = f"{path}.{os.getpid()}"
            self._files.pipe_file(beside, content)
            Path(beside).replace(path)

    def put(self, files: Sequence[tuple[Path, str]]) -> None:
        """Copy files into it: each from where it lies to its name in the bucket."""
        if files:
            with self._asked():
                limit = self._within(sum(path.stat().st_size for path, _ in files))
                self._files.put([str(path) for path, _ in files], [self._path(name) for _, name in files], **limit)

    def get(self, files: Sequence[tuple[str, Path]]) -> None:
        """Copy files out of it: each by its name in the bucket to where it is to lie.

        Raises:
            MissingError: if one is not there.
        """
        if files:
            with self._asked():
                self._files.get([self._path(name) for name, _ in files], [str(path) for _, path in files])

    def remove(self, names: Collection[str]) -> None:
        """Remove files; that one is not there any more is well."""
        for name in names:
            with suppress(MissingError), self._asked():
                self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _within(self, size: int) -> dict[str, float]:
        """Bound a write of so many bytes, where fsspec can."""
        return {"timeout": WRITTEN + size / RATE} if self._files.async_impl else {}

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Ask, unless it has just been waited for in vain: who asks for one thing after another waits once."""
        if (left := self._quiet_until - time.monotonic()) > 0:
            raise BucketError(f"the bucket {self.url} does not answer: it is asked again in {math.ceil(left)} s")
        try:
            yield
        except FileNotFoundError as error:
            raise MissingError(f"{self.url} lacks a file ({error})") from None
        except Exception as error:  # whatever library speaks the protocol has classes of its own
            if "Timeout" in type(error).__name__:
                self._quiet_until = time.monotonic() + PAUSE
            raise self._error(error) from None

    def _error(self, error: Exception) -> BucketError:
        """Name the kind of error alone: what else it says may hold more than is to be shown."""
        remedy = DENIED if isinstance(error, PermissionError) else "see whether it and AWS_ENDPOINT_URL can be reached"
        return BucketError(f"the bucket {self.url} cannot be used ({type(error).__name__}): {remedy}")
