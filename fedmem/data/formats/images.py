"""Pictures: in a folder, named by item id, or named by an items file. None lies outside of its folder.

For the API serves them to all: a file of items from elsewhere must not name what else is on this machine.
"""

import os
from pathlib import Path

from fedmem.errors import DataError

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def find_images(folder: Path) -> dict[str, Path]:
    """Find pictures ``<item id>.<jpg|jpeg|png|webp>`` by item id; ``DataError`` if there is no folder or no picture."""
    expected = f"a folder of pictures named <item id> with one of {', '.join(_SUFFIXES)}"
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; {expected} was expected there")
    # In the order of the suffixes, so that which of 7.jpg and 7.png is taken does not depend on the file system.
    found = sorted(
        (path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES), key=_preference, reverse=True
    )
    if not found:
        raise DataError(f"{folder} holds no pictures; {expected} was expected there")
    for path in found:
        check_inside(folder, path)
    return {path.stem: path for path in found}


def check_inside(folder: Path, path: Path) -> None:
    """Check that a picture lies in its folder, or below.

    Raises:
        DataError: if it leaves it by ``..``, as an absolute path or by a symbolic link.
    """
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise DataError(f"the picture {path} lies outside of {folder}, and all may see it; copy it into the folder")


def _preference(path: Path) -> tuple[int, str]:
    return _SUFFIXES.index(path.suffix.lower()), path.name
