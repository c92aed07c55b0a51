"""The embedded demo data set, made by the project from a seed: films, drawn covers, and users whose tastes drift."""

import contextlib
import csv
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from fedmem.data.demo_catalogue import Film, make_catalogue
from fedmem.data.demo_users import watch_histories
from fedmem.errors import DataError
from fedmem.randomness import numpy_generator

log = logging.getLogger(__name__)

INTERACTIONS_FILE, ITEMS_FILE, COVERS_DIRECTORY, MANIFEST_FILE = "interactions.csv", "items.csv", "covers", "demo.json"
VERSION = 1  # to be raised when the same seed gives other bytes than before
MIN_ITEMS, MAX_ITEMS, MAX_USERS = 20, 2_000, 100_000

Progress = Callable[[int, int], None]
History = tuple[np.ndarray, np.ndarray]


def write_demo(
    directory: Path, *, seed: int = 42, num_users: int = 500, num_items: int = 320, progress: Progress | None = None
) -> Path:
    """Write interactions.csv, items.csv and covers/ into `directory`, all or nothing, and return it.

    The same parameters give the same bytes, and a directory that holds them already is left as it is.
    `progress` is called with (covers drawn, num_items). Raises DataError for a size out of range, a directory with
    other contents, or a disk that cannot be written.
    """
    manifest = _manifest(seed, num_users, num_items)
    if _is_there(directory, manifest):
        log.info("the demo data set is already in %s", directory)
        return directory
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as staging:
            made = Path(staging) / "demo"
            _write(made, manifest, progress)
            _move_into_place(made, directory, manifest)
    except OSError as error:
        raise DataError(
            f"the demo data set cannot be written to {directory} ({error}); free space or choose another directory"
        ) from error
    return directory


def _manifest(seed: int, num_users: int, num_items: int) -> dict[str, int]:
    for name, value, least, most in (
        ("seed", seed, 0, 2**63 - 1),
        ("num_users", num_users, 1, MAX_USERS),
        ("num_items", num_items, MIN_ITEMS, MAX_ITEMS),
    ):
        if not least <= value <= most:
            raise DataError(f"{name} = {value} is out of range for the demo data set; choose {least} to {most}")
    return {"version": VERSION, "seed": seed, "num_users": num_users, "num_items": num_items}


def _is_there(directory: Path, manifest: dict[str, int]) -> bool:
    """Say whether `directory` holds this very demo; False if it may be written, an error if it may not."""
    if not directory.exists():
        return False
    if directory.is_dir() and not any(directory.iterdir()):
        return False
    if _read_manifest(directory) == manifest:
        return True
    raise DataError(
        f"{directory} exists and holds something else than the demo of seed {manifest['seed']}; choose another --out"
    )


def _read_manifest(directory: Path) -> object:
    try:
        return json.loads((directory / MANIFEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _move_into_place(made: Path, directory: Path, manifest: dict[str, int]) -> None:
    with contextlib.suppress(FileNotFoundError):
        directory.rmdir()  # an empty one, as was checked: not every system renames onto it
    try:
        os.rename(made, directory)
    except OSError:
        if not _is_there(directory, manifest):  # another process may have made the same meanwhile
            raise


def _write(directory: Path, manifest: dict[str, int], progress: Progress | None) -> None:
    directory.mkdir()
    seed, num_items = manifest["seed"], manifest["num_items"]
    films = make_catalogue(num_items, numpy_generator(seed, "demo-catalogue"))
    histories = watch_histories(films, manifest["num_users"], numpy_generator(seed, "demo-users"))
    item_ids = _ids("m", num_items)
    _write_csv(directory / ITEMS_FILE, "item_id,title,genres,year,image_path,text", _item_rows(item_ids, films))
    _write_csv(directory / INTERACTIONS_FILE, "user_id,item_id,timestamp", _interaction_rows(item_ids, histories))
    _write_covers(directory / COVERS_DIRECTORY, item_ids, films, seed, progress)
    (directory / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _ids(letter: str, count: int) -> list[str]:
    """Return ids of one width, at least three digits, so that they sort as they count: u001, u002, .."""
    width = max(3, len(str(count)))
    return [f"{letter}{number:0{width}d}" for number in range(1, count + 1)]


def _write_csv(path: Path, header: str, rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)


def _item_rows(item_ids: list[str], films: list[Film]) -> Iterable[Sequence[object]]:
    for item_id, film in zip(item_ids, films, strict=True):
        yield item_id, film.title, "|".join(film.genres), film.year, _cover_path(item_id), film.text


def _cover_path(item_id: str) -> str:
    return f"{COVERS_DIRECTORY}/{item_id}.jpg"


def _interaction_rows(item_ids: list[str], histories: list[History]) -> Iterable[Sequence[object]]:
    for user_id, (films, times) in zip(_ids("u", len(histories)), histories, strict=True):
        for film, time in zip(films.tolist(), times.tolist(), strict=True):
            yield user_id, item_ids[film], time


def _write_covers(
    directory: Path, item_ids: list[str], films: list[Film], seed: int, progress: Progress | None
) -> None:
    from fedmem.data.demo_covers import draw_cover  # brings Pillow, which who finds the demo in place does not need

    directory.mkdir()
    for done, (item_id, film) in enumerate(zip(item_ids, films, strict=True), start=1):
        cover = draw_cover(film, numpy_generator(seed, "demo-cover", done))
        cover.save(directory / f"{item_id}.jpg", quality=90, subsampling=0)
        if progress is not None:
            progress(done, len(films))
