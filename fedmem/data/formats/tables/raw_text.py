"""Bytes of a text file to UTF-8: its encoding detected, and lines that are not text set aside."""

import codecs
import logging
import re
from pathlib import Path

from fedmem.data.formats.tables.bad_rows import NO_TEXT, BadRows
from fedmem.data.formats.tables.opening import read_bytes
from fedmem.errors import DataError

_log = logging.getLogger(__name__)

_UNDECODED = re.compile("[\udc80-\udcff]")
# Tab and line ends (\n or \r\n) are the only control characters of a text table.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\r(?!\n|\Z)")
# UTF-32 before UTF-16, whose mark it begins with.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# No text in cp1252 holds these: five bytes have no meaning, and the last is a letter of no language's plain words.
_NOT_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d\xff]")


def read_text(path: Path, expected: str, encoding: str = "auto") -> bytes:
    """Read a text file as UTF-8 without a byte order mark; log its encoding if it was another.

    A byte order mark decides before ``encoding``. Bytes that are no UTF-8, in a file of which they may be, are left.
    """
    content = read_bytes(path, expected)
    try:
        text, found = as_utf8(content, encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = f"0x{content[error.start]:02x}"
        raise DataError(
            f"{path}:{line}: the byte {byte} does not decode as {error.encoding}; give another --encoding"
        ) from None
    if found != "utf-8":
        _log.info("%s: read as %s; if letters are wrong, give another --encoding", path, found)
    return text


def as_utf8(content: bytes, encoding: str = "auto", errors: str = "strict") -> tuple[bytes, str]:
    """Convert content to UTF-8 without a byte order mark; return it and the encoding that it was in."""
    found, mark = mark_of(content)
    if found is None:
        found = _detected(content) if encoding == "auto" else codecs.lookup(encoding).name
    content = content.removeprefix(mark)
    text = content if found == "utf-8" else content.decode(found, errors).encode(errors="surrogatepass")
    # Where there is no other line end, the single carriage return of an old Macintosh is one.
    return (text if b"\n" in text else text.replace(b"\r", b"\n")), found


def mark_of(content: bytes) -> tuple[str | None, bytes]:
    """Return the encoding that a byte order mark names, and the mark."""
    return next(((name, mark) for mark, name in _MARKS if content.startswith(mark)), (None, b""))


def _detected(content: bytes) -> str:
    """Guess UTF-8, or cp1252 if nothing beyond ASCII is UTF-8 and all of it may be letters of cp1252."""
    if content.isascii() or b"\0" in content:
        return "utf-8"
    try:
        content.decode()
        return "utf-8"
    except UnicodeDecodeError:
        foreign = [line for line in content.split(b"\n") if not line.isascii()]
    one_byte = not _NOT_CP1252.search(content) and not any(map(_is_utf8, foreign))
    return "cp1252" if one_byte and not any(map(_CONTROL.search, foreign)) else "utf-8"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def text_lines_only(content: bytes, bad_rows: BadRows) -> bytes:
    """Note each line that is not text as bad, and empty it, so that line numbers stay."""
    if is_text(content):
        return content
    lines = content.split(b"\n")
    for index, line in enumerate(lines):
        if not is_text(line):
            bad_rows.add(index + 1, _why_no_text(line), NO_TEXT)
            lines[index] = b""
    return b"\n".join(lines)


def decode_titles(content: bytes) -> bytes:
    """Decode MovieLens's titles, latin-1 as published, or UTF-8 in a converted copy; return UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1").encode()
    return content


def is_text(content: bytes) -> bool:
    """Say whether it is UTF-8 without control characters other than tab and line ends."""
    return _is_utf8(content) and _CONTROL.search(content) is None


def _why_no_text(line: bytes) -> str:
    control = _CONTROL.search(line)
    if control:
        return f"the byte 0x{control.group()[0]:02x} is not text (binary data?)"
    reason = why_undecoded(line.decode(errors="surrogateescape"))
    assert reason is not None, "the line is text"
    return reason


def why_undecoded(text: str) -> str | None:
    """Say what is wrong with the first byte that was no UTF-8 and became half a character, None if there is none."""
    found = None if text.isascii() else _UNDECODED.search(text)
    if found is None:
        return None
    byte = f"0x{ord(found[0]) - 0xDC00:02x}"
    return f"the byte {byte} does not decode as UTF-8 (save the file as UTF-8, or give its --encoding)"
