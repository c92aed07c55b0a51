"""Pictures in a folder, named by item id."""

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
    return {path.stem: path for path in found}


def _preference(path: Path) -> tuple[int, str]:
    return _SUFFIXES.index(path.suffix.lower()), path.name
