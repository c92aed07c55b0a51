"""What a bucket holds of a run: a name, digest and size of each file, in a file that is replaced as a whole.

::

    URL/jobs/7/objects/DIGEST        a file of the run, by its SHA-256
               manifests/0000000006  which file is which object; the highest number counts

The number is an epoch: a job's fencing token doubled while a trainer holds it, and one more once it is at rest. So a
trainer that another has taken a job over from writes a manifest that does not count, however late it comes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

FORMAT = 1


def trainers_epoch(token: int) -> int:
    """Return the epoch of the trainer that holds a job by this fencing token."""
    return 2 * token


def erasers_epoch(token: int) -> int:
    """Return the epoch of who erases users from a job at rest, which a trainer had held by this token."""
    return 2 * token + 1


@dataclass(frozen=True)
class Entry:
    """A file: its SHA-256 and its bytes."""

    digest: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """Which files a run has, by their names in its folder, as of an epoch."""

    epoch: int
    files: Mapping[str, Entry]

    @property
    def objects(self) -> frozenset[str]:
        """The digests that it names."""
        return frozenset(entry.digest for entry in self.files.values())

    @property
    def digest(self) -> str:
        """What two manifests have in common that name the same files."""
        told = sorted((name, entry.digest) for name, entry in self.files.items())
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Convert to what is written."""
        files = {name: [entry.digest, entry.size] for name, entry in self.files.items()}
        return {"format": FORMAT, "epoch": self.epoch, "files": files}

    @classmethod
    def of(cls, content: bytes) -> "Manifest":
        """Read what was written.

        Raises:
            ValueError: if it is none, or names what lies outside of a run's folder.
        """
        try:
            told = json.loads(content)
            _require(told["format"] == FORMAT, f"its format is {told['format']!r}, and this version reads {FORMAT}")
            files = {str(name): Entry(str(digest), int(size)) for name, (digest, size) in told["files"].items()}
            _require(all(map(_is_inside, files)), "it names a file outside of the run's folder")
            _require(all(map(_is_digest, files.values())), "a digest in it is none")
            return cls(int(told["epoch"]), files)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(str(error)) from None


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _is_digest(entry: Entry) -> bool:
    return len(entry.digest) == 64 and entry.digest.isalnum()


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and bool(path.parts) and not any(part.startswith(".") for part in path.parts)
