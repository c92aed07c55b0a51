"""What a backup says of itself: what is in it, with the digest of every file, and where it came from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedmem import __version__
from fedmem.errors import DataError

FILE, FORMAT = "backup.json", 1


@dataclass(frozen=True)
class Manifest:
    """What is in a backup.

    Attributes:
        made_at: when its database was copied, in seconds since 1970.
        database: the kind of database.
        revision: the migration that it is at.
        data_dir: the data folder it came from.
        files: size and SHA-256 by path in the backup.
    """

    made_at: float
    database: str
    revision: str
    data_dir: str
    files: Mapping[str, tuple[int, str]]

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(size for size, _ in self.files.values())


def digests(folder: Path) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of every file in a folder, by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / FILE)
    return {str(path.relative_to(folder)): (path.stat().st_size, digest(path)) for path in files}


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it last: a folder without it is no backup."""
    told = {"format": FORMAT, "fedmem": __version__, **asdict(manifest)}
    (folder / FILE).write_text(json.dumps(told, indent=1), encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read what is in a backup.

    Raises:
        DataError: if the folder holds none, or one of another format.
    """
    path = folder / FILE
    if not path.is_file():
        raise DataError(
            f"{folder} is no backup (there is no {FILE} in it): name a folder that fedmem backup has written"
        )
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if told.pop("format") != FORMAT:
            raise DataError(f"{path} is of another format than {FORMAT}: restore it with FedMem {told['fedmem']}")
        told.pop("fedmem")
        files = {name: (int(size), str(found)) for name, (size, found) in told.pop("files").items()}
        return Manifest(**told, files=files)
    except DataError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path} cannot be read ({error}): the backup is damaged, take another") from None


def verify(folder: Path, manifest: Manifest) -> None:
    """Check that every file is as it was backed up.

    Raises:
        DataError: naming the first that is not.
    """
    for name, (size, found) in manifest.files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{folder / FILE} names a file outside of the backup, {name}: take another backup")
        if not path.is_file():
            raise DataError(f"{path} is missing: the backup is damaged, take another")
        if path.stat().st_size != size or digest(path) != found:
            raise DataError(
                f"{path} is not what was backed up (its SHA-256 differs): the backup is damaged, take another"
            )
