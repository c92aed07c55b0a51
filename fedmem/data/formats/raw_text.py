"""Bytes of a text file, unzipped, with lines that are no text set aside."""

import gzip
import re
import zlib
from pathlib import Path

from fedmem.data.formats.bad_rows import BadRows
from fedmem.errors import DataError

# Tab and line ends (\n or \r\n) are the only control characters of a text table.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\r(?!\n|\Z)")
_GZIP_MAGIC = b"\x1f\x8b"


def read_bytes(path: Path, expected: str) -> bytes:
    """Content of a file, unzipped if it is gzip; ``DataError`` if it is missing, unreadable or empty."""
    content = _file_bytes(path, expected)
    if content.startswith(_GZIP_MAGIC):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: the gzip file is damaged ({error}); fetch or pack it again") from error
    if not content.strip():
        raise DataError(f"{path}: the file is empty; {expected} was expected")
    return content.removeprefix(b"\xef\xbb\xbf")


def text_lines_only(content: bytes, bad_rows: BadRows) -> bytes:
    """The content as UTF-8, each line that is no text noted as bad and emptied, so that line numbers stay."""
    if is_text(content):
        return content
    lines = content.split(b"\n")
    for index, line in enumerate(lines):
        if not is_text(line):
            bad_rows.add(index + 1, _why_no_text(line))
            lines[index] = b""
    return b"\n".join(lines)


def decode_titles(content: bytes) -> bytes:
    """MovieLens wrote its titles in latin-1; a copy somebody turned into UTF-8 is taken as that. Returns UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1").encode()
    return content


def _file_bytes(path: Path, expected: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; {expected} was expected there") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; {expected} was expected there") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); {expected} was expected there") from error


def is_text(content: bytes) -> bool:
    """UTF-8 without control characters other than tab and line ends."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return _CONTROL.search(content) is None


def _why_no_text(line: bytes) -> str:
    control = _CONTROL.search(line)
    if control:
        return f"the byte 0x{control.group()[0]:02x} is not text (binary data?)"
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"the byte 0x{line[error.start]:02x} does not decode as UTF-8 (save the file as UTF-8)"
    raise AssertionError("the line is text")
