"""Public data sets from their own sites, checked file by file against digests that stand here."""

import hashlib
import logging
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import httpx

from fedmem.errors import DataError

log = logging.getLogger(__name__)

CONNECT_TIMEOUT, READ_TIMEOUT = 15.0, 60.0  # seconds
_BLOCK = 1 << 20
_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_GROUPLENS_LICENCE = "GroupLens: for research only, not for commercial use, not to be redistributed without permission."

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class DatasetSource:
    """Where a data set comes from and what it must be.

    `files` maps each file's name to its digest as `algorithm:hex`, or to None where no digest is known and the
    archive's own CRC must do. Only these files are kept, in a folder `name`. They lie in the zip's folder
    `archive_folder`; where that is None the URL is the one file itself.
    """

    name: str
    url: str
    licence: str
    files: Mapping[str, str | None]
    archive_folder: str | None = None


def _movielens(name: str, files: Mapping[str, str | None], licence: str = _GROUPLENS_LICENCE) -> DatasetSource:
    return DatasetSource(name, f"{_GROUPLENS}/{name}.zip", licence, files, archive_folder=name)


DATASETS: dict[str, DatasetSource] = {
    source.name: source
    for source in (
        _movielens(
            "ml-100k",
            {
                "README": None,
                "u.data": "md5:6e47046882bad158b0efbb84cd5cb987",
                "u.item": "md5:c9e7f390115d79079537301d5204f3f7",
                "u.genre": "sha256:9757e0d3e6b298159a80dd48eaf938114690e911e39af97a76949ef1663610bb",
                "u.user": "sha256:f120e114da2e8cf314fd28f99417c94ae9ddf1cb6db8ce0e4b5995d40e90e62c",
            },
        ),
        _movielens(
            "ml-1m",
            {
                "README": None,
                "ratings.dat": "md5:a89aa3591bc97d6d4e0c89459ff39362",
                "movies.dat": "md5:ef9fd9ff8d1b33faf73e2122c371e910",
                "users.dat": "md5:681c0711d0d4548cd3d4718a49c2dcd8",
            },
        ),
        _movielens(
            "ml-latest-small",
            {
                "README.txt": None,
                "ratings.csv": "sha256:aa289ca83157595d0df6aea1be6a4ded676ddc4385472e8313a8ed9805352646",
                "movies.csv": "sha256:5a5f32dd9bb3797b8e728a1b98958789d2b13f294a69fdfbc5727f8a9611aa07",
                "links.csv": "sha256:97ad18e4e56a09363c65676b6cb3482ce3e2cea2372a24620c1599c843325f31",
                "tags.csv": "sha256:92a9f8bb7916dceef6151209845788c3643f794dfa79d1feaec7121b5960399d",
            },
            "GroupLens: for research, not for commercial use; may be passed on, also transformed, on the same terms.",
        ),
        DatasetSource(
            "sasrec-ml-1m",
            "https://raw.githubusercontent.com/kang205/SASRec/e3738967fddab206d6eeb4fda433e7a7034dd8b1/data/ml-1m.txt",
            "Derived from MovieLens-1M, same terms. " + _GROUPLENS_LICENCE,
            {"ml-1m.txt": "sha256:b725f3acb3986fe3130bffd1e77a74d182a1f51799567a236dbd60270f95b0a2"},
        ),
    )
}


class _Mismatch(Exception):
    """What was received is not the data set; the message says in what."""


def fetch(
    name: str | DatasetSource, directory: Path, progress: Progress | None = None, client: httpx.Client | None = None
) -> Path:
    """Download a data set into `directory/<name>`, all or nothing, and return that folder.

    A folder that is there and holds the right files is returned at once, without a connection. `progress` is called
    with (bytes received, bytes in all or None). Raises DataError, naming URL and remedy, for no network, an HTTP error,
    wrong contents, a full disk or a folder that holds something else; and for an unknown name.
    """
    source = source_of(name)
    target = directory / source.name
    if _is_there(source, target):
        log.info("%s is already in %s, its files verified", source.name, target)
        return target
    try:
        _fetch_into(source, target, progress, client)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, _Mismatch) as error:
        raise DataError(_message(source, error)) from error
    return target


def source_of(name: str | DatasetSource) -> DatasetSource:
    """Find a data set's source by its name.

    Raises:
        DataError: if it has none, naming those that can be fetched.
    """
    if isinstance(name, DatasetSource):
        return name
    if name not in DATASETS:
        raise DataError(f"no data set is named {name!r}; these can be fetched: {', '.join(DATASETS)}")
    return DATASETS[name]


def _message(source: DatasetSource, error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        reason = f"the site answered {error.response.status_code} {error.response.reason_phrase}".rstrip()
    else:
        reason = str(error) or type(error).__name__
    return (
        f"{source.name} could not be fetched from {source.url}: {reason}; try again, "
        f"or download it by hand, unpack it and give its folder with --data"
    )


def _is_there(source: DatasetSource, target: Path) -> bool:
    """Say whether `target` holds the data set; False if it may be written, an error if it holds something else."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    try:
        _verify(source, target)
    except (_Mismatch, OSError) as error:
        raise DataError(
            f"{target} is there but is not {source.name} as published at {source.url} ({error}); "
            "remove it or fetch into another directory"
        ) from error
    return True


def _fetch_into(source: DatasetSource, target: Path, progress: Progress | None, client: httpx.Client | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{source.name}-") as staging:
        body, folder = Path(staging) / "download", Path(staging) / "folder"
        folder.mkdir()
        _download(source.url, body, progress, client)
        if source.archive_folder is None:
            (only_file,) = source.files
            os.replace(body, folder / only_file)
        else:
            _extract(body, folder, source.archive_folder, source)
        _verify(source, folder)
        if target.exists():
            target.rmdir()  # an empty one, as was checked: not every system renames onto it
        os.rename(folder, target)


def _download(url: str, path: Path, progress: Progress | None, client: httpx.Client | None) -> None:
    if client is None:
        with httpx.Client(timeout=httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)) as own_client:
            return _download(url, path, progress, own_client)
    # Unencoded, so that the length that the server names is the number of bytes written.
    headers = {"Accept-Encoding": "identity"}
    with client.stream("GET", url, headers=headers, follow_redirects=True) as response, path.open("wb") as file:
        response.raise_for_status()
        total = int(length) if (length := response.headers.get("Content-Length", "")).isdecimal() else None
        for block in response.iter_bytes():
            file.write(block)
            if progress is not None:
                progress(response.num_bytes_downloaded, total)


def _extract(body: Path, folder: Path, archive_folder: str, source: DatasetSource) -> None:
    try:
        with zipfile.ZipFile(body) as archive:
            names = set(archive.namelist())
            for name in sorted(names):
                _refuse_escape(name)
            for file_name in source.files:
                member = f"{archive_folder}/{file_name}"
                if member not in names:
                    raise _Mismatch(f"the archive lacks {member}")
                with archive.open(member) as packed, (folder / file_name).open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, _BLOCK)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _Mismatch(f"what came is not a sound zip archive ({error})") from error


def _refuse_escape(name: str) -> None:
    """Refuse a member outside the folder: only named files are written, but this archive is not the published one."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise _Mismatch(f"the archive holds a member outside its folder, {name!r}")


def _verify(source: DatasetSource, folder: Path) -> None:
    for file_name, expected in source.files.items():
        path = folder / file_name
        if not path.is_file():
            raise _Mismatch(f"{file_name} is missing")
        if expected is not None:
            _verify_file(path, expected)


def _verify_file(path: Path, expected: str) -> None:
    algorithm, _, digest = expected.partition(":")
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, algorithm).hexdigest()
    if actual != digest:
        raise _Mismatch(f"{path.name} has {algorithm} {actual}, not {digest}")
