"""Items' pictures, as they are on this machine."""

import os
from pathlib import Path

from fedmem.errors import UnknownItemError

MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
}
LARGEST = 16 * 2**20


def read_image(item_id: str, path: str | None) -> tuple[bytes, str]:
    """Read a picture and its media type. The path is what an import has stored; nothing of a request is part of it.

    It has been followed through all symbolic links, so that one in it is from later and may lead anywhere.

    Raises:
        UnknownItemError: if there is none, or the file is no picture.
    """
    file = None if path is None else Path(path)
    if file is None or file.suffix.lower() not in MEDIA_TYPES:
        raise UnknownItemError(f"the item {item_id!r} has no picture")
    if os.path.realpath(file) != str(file):
        raise UnknownItemError(f"the picture of the item {item_id!r} is a link now; import it again")
    try:
        if file.stat().st_size > LARGEST:
            raise UnknownItemError(f"the picture of the item {item_id!r} is too large to be sent")
        return file.read_bytes(), MEDIA_TYPES[file.suffix.lower()]
    except OSError:
        raise UnknownItemError(f"the picture of the item {item_id!r} is no longer where the import found it") from None
