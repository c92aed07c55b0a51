"""Bytes of a file, unpacked as they are read: gz, bz2, xz, zst, and a zip archive of one file."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from fedmem.errors import DataError

MOST_TIMES, ALWAYS = 200, 64 * 2**20  # a file unpacks to so many times its own bytes, or to so many
PACKED_SUFFIXES = ("", ".gz", ".zip", ".bz2", ".xz", ".zst")
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")  # the second of an archive that holds nothing
_DAMAGES = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError)


def _open_zst(file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")))


_UNPACKERS: dict[bytes, tuple[str, Callable[[IO[bytes]], IO[bytes]]]] = {
    b"\x1f\x8b": ("gzip", lambda file: cast(IO[bytes], gzip.GzipFile(fileobj=file))),
    b"BZh": ("bz2", bz2.BZ2File),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMAFile),
    b"\x28\xb5\x2f\xfd": ("zst", _open_zst),
}


@contextmanager
def opened(path: Path, expected: str) -> Iterator[IO[bytes]]:
    """Open a file, unpacked if it is packed; ``DataError`` if it is missing, unreadable or damaged."""
    with _file(path, expected) as file:
        start = file.read(8)
        file.seek(0)
        if start.startswith(_ZIP_MAGICS):
            with _unpacking(path, "zip"):
                unzipped = _open_zip(file, path)
                yield unzipped if unzipped is file else _bounded(unzipped, path)
            return
        name, unpack = next((found for magic, found in _UNPACKERS.items() if start.startswith(magic)), ("", None))
        if unpack is None:
            yield file
            return
        with _unpacking(path, name), unpack(file) as unpacked:
            yield _bounded(unpacked, path)


def read_bytes(path: Path, expected: str, at_most: int = -1) -> bytes:
    """Read a file, unpacked, or its beginning; ``DataError`` if it is missing, damaged or empty."""
    with opened(path, expected) as file:
        content = file.read(at_most)
    if not content.strip():
        raise DataError(f"{path}: the file is empty; {expected} was expected")
    return content


@contextmanager
def _file(path: Path, expected: str) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; {expected} was expected there") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; {expected} was expected there") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); {expected} was expected there") from error
    with file:
        yield file


@contextmanager
def _unpacking(path: Path, name: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except _DAMAGES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: the {name} file is damaged ({reason}); fetch or pack it again") from error


def _bounded(unpacked: IO[bytes], path: Path) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(_Bounded(unpacked, path), 2**16))


class _Bounded(io.RawIOBase):
    """Ends with an error where a file unpacks to very much more than it is: that is a trap and no data."""

    def __init__(self, unpacked: IO[bytes], path: Path) -> None:
        self._unpacked, self._path = unpacked, path
        self._left = max(ALWAYS, MOST_TIMES * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, at least in part, until the end."""
        part = self._unpacked.read(len(buffer))
        self._left -= len(part)
        if self._left < 0:
            raise DataError(
                f"{self._path} unpacks to more than {MOST_TIMES} times its size; unpack it by hand, if that is meant"
            )
        buffer[: len(part)] = part
        return len(part)


def _open_zip(file: IO[bytes], path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(file)
    if _is_workbook(archive):
        file.seek(0)
        return file
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(names) != 1:
        there = ", ".join(names[:5]) + (", .." if len(names) > 5 else "") or "nothing"
        raise DataError(f"{path}: the archive holds {there}, where one file was expected; unpack it and name the file")
    return archive.open(names[0])


def _is_workbook(archive: zipfile.ZipFile) -> bool:
    """Say whether an archive is an Excel workbook, which is a zip archive too."""
    return any(name.startswith("xl/") for name in archive.namelist())


def damaged(path: Path, what: str, error: Any) -> DataError:
    """Word the error for a file that a library cannot read."""
    reason = " ".join(str(error).split())
    return DataError(f"{path} is not {what} that can be read ({reason}); write it again")
