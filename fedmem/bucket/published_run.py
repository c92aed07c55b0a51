"""What a bucket has of one job's folder: brought from there, and published whole or not at all."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path

from fedmem.bucket.local_copy import LocalCopy, digest_of
from fedmem.bucket.manifest import Entry, Manifest
from fedmem.bucket.store import Bucket, MissingError
from fedmem.errors import BucketError, CheckpointError, LeaseLostError

TRIES = 5  # at reading a run that is replaced meanwhile
JOBS, OBJECTS, MANIFESTS = "jobs", "objects", "manifests"
REMEDY = (
    "start a trainer or an API on a machine whose folder has the file, which puts it back; else bring the object back, "
    "or remove the job and train anew"
)


class PublishedRun:
    """A run in a bucket.

    Args:
        bucket: the bucket.
        job_id: whose run it is.
    """

    def __init__(self, bucket: Bucket, job_id: int) -> None:
        self._bucket, self._job_id, self._place = bucket, job_id, f"{JOBS}/{job_id}"

    def newest(self) -> Manifest | None:
        """Read the manifest that counts, None where there is none.

        Raises:
            BucketError: if the bucket cannot be used.
            CheckpointError: if it is damaged, naming it.
        """
        for _ in range(TRIES):
            names = self._bucket.names(f"{self._place}/{MANIFESTS}")
            numbers = [name for name in names if name.rpartition("/")[2].isdigit()]
            if not numbers:
                return None
            try:
                return Manifest.of(self._bucket.read(max(numbers)))
            except MissingError:  # another has replaced it
                continue
            except BucketError:
                raise
            except ValueError as error:
                raise CheckpointError(f"{self._bucket.url}/{max(numbers)} is damaged ({error}): remove it") from None
        raise BucketError(f"{self._bucket.url}/{self._place} is replaced more quickly than it can be read: try again")

    def bring(self, copy: LocalCopy) -> None:
        """Make a folder what is here, unless it was the same already.

        Raises:
            BucketError: if the bucket cannot be used.
            CheckpointError: if a file in it is not what it was, naming it; the folder stays as it is.
        """
        for left in reversed(range(TRIES)):
            manifest = self.newest()
            if manifest is None or copy.is_as(manifest):
                return
            try:
                return copy.take(manifest, partial(self._get, manifest.files))
            except MissingError:  # an object of a manifest that was replaced meanwhile, as the next look shows
                if not left:
                    raise CheckpointError(self._what_is_missing(manifest.files)) from None

    def _get(self, entries: Mapping[str, Entry], places: Mapping[str, Path]) -> None:
        objects = {name: self._object(entries[name].digest) for name in places}
        self._bucket.get([(objects[name], place) for name, place in places.items()])
        for name, place in places.items():
            if digest_of(place) != entries[name].digest:
                raise CheckpointError(
                    f"{self._bucket.url}/{objects[name]} is damaged: it is not what was published as {name} of job "
                    f"{self._job_id} (its SHA-256 differs). {REMEDY.capitalize()}"
                )

    def _what_is_missing(self, entries: Mapping[str, Entry]) -> str:
        there = set(self._bucket.names(f"{self._place}/{OBJECTS}"))
        names = ((name, self._object(entry.digest)) for name, entry in entries.items())
        name, found = next(((name, found) for name, found in names if found not in there), ("a file", "an object"))
        return f"{self._bucket.url}/{found} is missing, which was published as {name} of job {self._job_id}: {REMEDY}"

    def publish(self, copy: LocalCopy, epoch: int, check: Callable[[], None], *, thoroughly: bool) -> None:
        """Become what a folder is: objects first, then the manifest, then what it does not name is removed.

        Args:
            copy: the folder.
            epoch: of who publishes.
            check: called before what others see is changed; raises where this process may no longer.
            thoroughly: look at what is there: put back what was lost, and remove every object that is not named, those
                of killed processes too; else what was named is believed to be there, and removed once it is not.

        Raises:
            BucketError: if the bucket cannot be used; what was there before is whole.
            LeaseLostError: if one of a later epoch has published.
        """
        before = self.newest() or Manifest(-1, {})
        if before.epoch > epoch:
            raise LeaseLostError(f"job {self._job_id}: another process has published it since")
        there = before.objects & self._objects() if thoroughly else before.objects
        now = self._upload(copy, before, there, epoch, check)
        check()
        self._remove_rest(before, now, thoroughly=thoroughly)

    def put_back(self, copy: LocalCopy) -> None:
        """Put the objects there that the manifest names and that were lost, as far as the folder has them.

        Raises:
            BucketError: if the bucket cannot be used.
        """
        manifest = self.newest()
        lost = frozenset() if manifest is None else manifest.objects - self._objects()
        if lost:
            here = {entry.digest: copy.folder / name for name, (_, entry) in copy.scan().items()}
            back = {self._object(digest): here[digest] for digest in sorted(lost & here.keys())}
            self._bucket.put([(path, name) for name, path in back.items()])
            now = self.newest()  # another may have erased a user meanwhile
            self._bucket.remove(back.keys() - {*map(self._object, now.objects if now else ())})

    def _objects(self) -> frozenset[str]:
        return frozenset(name.rpartition("/")[2] for name in self._bucket.names(f"{self._place}/{OBJECTS}"))

    def _upload(
        self, copy: LocalCopy, before: Manifest, there: Collection[str], epoch: int, check: Callable[[], None]
    ) -> Manifest:
        """Put the files there that are not, those that are replaced meanwhile again, and the manifest."""
        while True:
            found = copy.scan()
            now = Manifest(epoch, {name: entry for name, (_, entry) in found.items()})
            new = {entry.digest: name for name, entry in now.files.items() if entry.digest not in there}
            self._bucket.put([(copy.folder / name, self._object(digest)) for digest, name in new.items()])
            if copy.stamps() == {name: stamp for name, (stamp, _) in found.items()}:
                break
        check()
        if (now.digest, now.epoch) != (before.digest, before.epoch):
            self._bucket.write(self._manifest(epoch), now.to_json())
        copy.note(found)
        return now

    def _remove_rest(self, before: Manifest, now: Manifest, *, thoroughly: bool) -> None:
        names = {*map(self._object, before.objects), self._manifest(before.epoch)}
        if thoroughly:
            names |= set(self._bucket.names(self._place))
        self._bucket.remove(sorted(names - {*map(self._object, now.objects), self._manifest(now.epoch)}))

    def remove(self) -> None:
        """Remove all of it, the manifests first."""
        for part in (f"/{MANIFESTS}", ""):
            self._bucket.remove(self._bucket.names(f"{self._place}{part}"))

    def _object(self, digest: str) -> str:
        return f"{self._place}/{OBJECTS}/{digest}"

    def _manifest(self, epoch: int) -> str:
        return f"{self._place}/{MANIFESTS}/{epoch:010d}"
