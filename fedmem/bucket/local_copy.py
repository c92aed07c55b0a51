"""A run's folder on this machine: what is in it, and with what of the bucket it was the same last."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fedmem.bucket.manifest import Entry, Manifest
from fedmem.errors import disk_error

MARKER, LOCK, INCOMING = ".bucket.json", ".lock", ".incoming"
# What says that a run is there, and what names its users, come last: an interrupted copy is none yet.
LAST = ("features.safetensors", "dataset.safetensors", "dataset.json", "manifest.json")

Stamp = tuple[int, int, int]  # size, time and number of a file: one that was replaced has others
Scan = Mapping[str, tuple[Stamp, Entry]]  # by name in the folder


@dataclass(frozen=True)
class Marker:
    """Which manifest of which bucket a folder was the same as, and the files' stamps and digests then."""

    url: str = ""
    digest: str = ""
    stamps: Mapping[str, tuple[Stamp, str]] = field(default_factory=dict)

    def known(self, name: str, stamp: Stamp) -> str | None:
        """Return the digest of a file that was not replaced since."""
        found = self.stamps.get(name)
        return found[1] if found is not None and found[0] == stamp else None


class LocalCopy:
    """One run's folder. Names that begin with a dot are working files and no part of the run.

    Args:
        folder: the run's folder, which need not be there.
        url: of the bucket.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self._url = folder, url

    @property
    def marker(self) -> Marker:
        """What was noted last of this bucket; an empty one where nothing was, or it cannot be read."""
        try:
            told = json.loads((self.folder / MARKER).read_bytes())
            stamps = {name: ((int(s), int(t), int(i)), str(d)) for name, (s, t, i, d) in told["files"].items()}
            found = Marker(str(told["url"]), str(told["digest"]), stamps)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return Marker()
        return found if found.url == self._url else Marker()

    def note(self, found: Scan) -> None:
        """Note that the bucket has the folder as it was found."""
        manifest = Manifest(0, {name: entry for name, (_, entry) in found.items()})
        files = {name: (*stamp, entry.digest) for name, (stamp, entry) in found.items()}
        told = {"url": self._url, "digest": manifest.digest, "files": files}
        beside = self.folder / f"{MARKER}.{os.getpid()}"
        beside.write_text(json.dumps(told), encoding="utf-8")
        beside.replace(self.folder / MARKER)

    def scan(self) -> Scan:
        """Find every file with its digest; only those are read that were replaced since the last note."""
        marker, stamps = self.marker, self.stamps()
        digests = {name: marker.known(name, stamp) or digest_of(self.folder / name) for name, stamp in stamps.items()}
        return {name: (stamp, Entry(digests[name], stamp[0])) for name, stamp in stamps.items()}

    def stamps(self) -> dict[str, Stamp]:
        """Find every file."""
        return {name: stamp_of(self.folder / name) for name in self.names()}

    def names(self) -> list[str]:
        """List the files by their names in the folder."""
        found = []
        for place, folders, files in os.walk(self.folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            within = Path(place).relative_to(self.folder)
            found += [(within / name).as_posix() for name in files if not name.startswith(".")]
        return sorted(found)

    def is_as(self, manifest: Manifest) -> bool:
        """Say whether the folder was the same as a manifest, and still has its files; newer ones may be there too."""
        there = all((self.folder / name).is_file() for name in manifest.files)
        return there and self.marker.digest == manifest.digest

    def take(self, manifest: Manifest, get: Callable[[Mapping[str, Path]], None]) -> None:
        """Become what a manifest names: what is not there is put into a folder beside, and renamed from there.

        Args:
            manifest: what is to be there.
            get: puts files, by their names in the manifest, to these places, whole and checked.

        Raises:
            CheckpointError: if the disk refuses it.
        """
        incoming = self.folder / INCOMING
        shutil.rmtree(incoming, ignore_errors=True)  # of a process that was killed
        try:
            self._take(manifest, get, incoming)
        except OSError as error:
            raise disk_error(error, f"{self.folder}: cannot be written ({error.strerror}): make room") from None
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def _take(self, manifest: Manifest, get: Callable[[Mapping[str, Path]], None], incoming: Path) -> None:
        incoming.mkdir(parents=True)
        found = self.scan()
        there = {name: entry for name, (_, entry) in found.items()}
        missing = sorted((name for name, entry in manifest.files.items() if there.get(name) != entry), key=_order)
        places = {name: incoming / str(number) for number, name in enumerate(missing)}
        get(places)
        new = {name: (stamp_of(place), manifest.files[name]) for name, place in places.items()}
        self._drop(there.keys() - manifest.files.keys())
        for name, place in places.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            place.replace(self.folder / name)
        self.note({name: new.get(name) or found[name] for name in manifest.files})

    def _drop(self, names: Collection[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
        for folder in {(self.folder / name).parent for name in names} - {self.folder}:
            if not any(folder.iterdir()):
                folder.rmdir()

    @contextmanager
    def locked(self, *, shared: bool = False) -> Iterator[bool]:
        """Hold the folder, with others who share it or alone; False where another process of this machine holds it.

        Who shares waits for one who is alone.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


def stamp_of(path: Path) -> Stamp:
    """Return what changes whenever a file is replaced."""
    told = path.stat()
    return told.st_size, told.st_mtime_ns, told.st_ino


def digest_of(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _order(name: str) -> int:
    return LAST.index(name) if name in LAST else -1
