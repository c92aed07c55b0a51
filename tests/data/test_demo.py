"""The embedded demo: its files, that a seed fixes every byte, and that its histories can be learned from."""

import csv
import json
import os
import subprocess
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedmem.data.demo import write_demo
from fedmem.data.demo_words import GENRES
from fedmem.errors import DataError

write_small = partial(write_demo, num_users=12, num_items=40)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo(tmp_path_factory.mktemp("data") / "demo")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _histories(demo: Path) -> list[list[int]]:
    position = {row["item_id"]: i for i, row in enumerate(_rows(demo / "items.csv"))}
    histories: dict[str, list[int]] = {}
    for row in _rows(demo / "interactions.csv"):
        histories.setdefault(row["user_id"], []).append(position[row["item_id"]])
    return list(histories.values())


def _bytes(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_catalogue_reads_like_one(demo: Path) -> None:
    items = _rows(demo / "items.csv")
    assert [row["item_id"] for row in items] == [f"m{n:03d}" for n in range(1, 321)]
    assert len({row["title"] for row in items}) == 320
    assert all("{" not in row["title"] + row["text"] and row["text"].endswith(".") for row in items)
    assert {genre for row in items for genre in row["genres"].split("|")} == set(GENRES)
    assert {len(row["genres"].split("|")) for row in items} == {1, 2}
    assert all(1950 <= int(row["year"]) <= 2024 for row in items)


def test_sequels_come_after_what_they_follow(demo: Path) -> None:
    items = {row["title"]: row for row in _rows(demo / "items.csv")}
    sequels = [title for title in items if title.endswith(" II")]
    assert len(sequels) >= 20
    for title in sequels:
        first = items[title.removesuffix(" II")]
        assert items[title]["genres"] == first["genres"]
        assert int(items[title]["year"]) >= int(first["year"])


def test_every_film_has_a_cover_of_its_own(demo: Path) -> None:
    paths = [demo / row["image_path"] for row in _rows(demo / "items.csv")]
    assert len({path.read_bytes() for path in paths}) == len(paths)
    for path in paths[::40]:
        with Image.open(path) as cover:
            assert (cover.format, cover.size) == ("JPEG", (200, 300))
            assert np.asarray(cover.convert("L")).std() > 20


def test_histories_have_the_lengths_that_a_sequence_model_needs(demo: Path) -> None:
    histories = _histories(demo)
    lengths = np.array([len(history) for history in histories])
    assert len(histories) == 500
    assert 28 <= lengths.mean() <= 42
    assert (lengths > 50).sum() >= 40
    assert lengths.max() <= 80
    assert set(lengths[lengths < 8].tolist()) == {1, 2, 3, 4}
    assert all(len(set(history)) == len(history) for history in histories)


def test_a_users_times_increase(demo: Path) -> None:
    rows = _rows(demo / "interactions.csv")
    for before, after in pairwise(rows):
        if before["user_id"] == after["user_id"]:
            assert int(before["timestamp"]) < int(after["timestamp"])


def test_tastes_drift(demo: Path) -> None:
    """Two neighbouring quarters of a long history share more genres than its first and last quarter do."""
    index = {genre: g for g, genre in enumerate(GENRES)}
    primary = np.array([index[row["genres"].split("|")[0]] for row in _rows(demo / "items.csv")])
    near, far = [], []
    for history in _histories(demo):
        if len(history) >= 24:
            counts = [np.bincount(primary[part], minlength=len(GENRES)) for part in np.array_split(history, 4)]
            first, second, *_, last = [count / np.linalg.norm(count) for count in counts]
            near.append(first @ second)
            far.append(first @ last)
    assert np.mean(near) > np.mean(far) + 0.15


def _hit_rate(histories: list[list[int]], scores: list[np.ndarray], k: int = 10) -> float:
    """HR@k of the last item in the full ranking without the items seen before, ties in the middle."""
    hits = 0
    for history, score in zip(histories, scores, strict=True):
        ranked = np.asarray(score, dtype=float).copy()
        ranked[history[:-1]] = -np.inf
        target = ranked[history[-1]]
        hits += (ranked > target).sum() + ((ranked == target).sum() - 1) / 2 < k
    return hits / len(histories)


def _popularity_and_transitions(histories: list[list[int]], num_items: int) -> tuple[float, float]:
    popularity, transitions = np.zeros(num_items), np.zeros((num_items, num_items))
    for history in histories:
        train = history[:-2]
        popularity[train] += 1
        for i, item in enumerate(train):
            for distance, later in enumerate(train[i + 1 : i + 11], start=1):
                transitions[item, later] += 1 / distance
    by_transition = [transitions[history[-2]] + 1e-6 * popularity for history in histories]
    return _hit_rate(histories, [popularity] * len(histories)), _hit_rate(histories, by_transition)


def test_transitions_beat_popularity_by_far(demo: Path) -> None:
    histories = [history for history in _histories(demo) if len(history) >= 5]
    popularity, transitions = _popularity_and_transitions(histories, 320)
    assert popularity > 10 / 320  # some films are better known than others
    assert transitions >= 2 * popularity


def test_shuffled_histories_lose_what_transitions_know(demo: Path) -> None:
    """The guard of the test above: its lead over popularity comes from the order, not from the count matrix."""
    rng = np.random.default_rng(0)
    ordered = [history for history in _histories(demo) if len(history) >= 5]
    shuffled = [rng.permutation(history).tolist() for history in ordered]
    assert _popularity_and_transitions(shuffled, 320)[1] < 0.8 * _popularity_and_transitions(ordered, 320)[1]


def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    here = write_small(tmp_path / "here", seed=7)
    call = "write_demo(Path('there'), seed=7, num_users=12, num_items=40)"
    program = f"from pathlib import Path; from fedmem.data.demo import write_demo; {call}"
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, env=environment)
    assert _bytes(here) == _bytes(tmp_path / "there")


def test_another_seed_gives_another_demo(tmp_path: Path) -> None:
    one, other = (_bytes(write_small(tmp_path / str(seed), seed=seed)) for seed in (1, 2))
    assert one["items.csv"] != other["items.csv"]
    assert one["interactions.csv"] != other["interactions.csv"]


def test_the_largest_catalogue_still_has_unique_titles() -> None:
    from fedmem.data.demo import MAX_ITEMS
    from fedmem.data.demo_catalogue import make_catalogue

    films = make_catalogue(MAX_ITEMS, np.random.default_rng(0))
    assert len({film.title for film in films}) == MAX_ITEMS


def test_a_demo_in_place_is_left_as_it_is(tmp_path: Path) -> None:
    directory = write_small(tmp_path / "demo")
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    calls: list[tuple[int, int]] = []
    assert write_small(directory, progress=lambda done, total: calls.append((done, total))) == directory
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before
    assert calls == []


def test_a_demo_of_other_parameters_is_not_overwritten(tmp_path: Path) -> None:
    directory = write_small(tmp_path / "demo")
    before = _bytes(directory)
    with pytest.raises(DataError, match="choose another --out") as caught:
        write_small(directory, seed=1)
    assert str(directory) in str(caught.value)
    assert _bytes(directory) == before


@pytest.mark.parametrize("manifest", [None, "no json {", "[]"])
def test_a_directory_with_other_content_is_not_touched(tmp_path: Path, manifest: str | None) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    if manifest is not None:
        (tmp_path / "demo.json").write_text(manifest)
    before = _bytes(tmp_path)
    with pytest.raises(DataError, match="holds something else than the demo"):
        write_small(tmp_path)
    assert _bytes(tmp_path) == before


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    directory = tmp_path / "empty"
    directory.mkdir()
    assert json.loads((write_small(directory) / "demo.json").read_text())["num_items"] == 40


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_small(tmp_path / "demo", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_small(tmp_path / "file" / "demo")


def test_a_file_in_the_way_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="choose another --out"):
        write_small(tmp_path / "file")


def test_progress_counts_covers(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_small(tmp_path / "demo", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(n, 40) for n in range(1, 41)]


@pytest.mark.parametrize(("name", "value"), [("num_users", 0), ("num_items", 19), ("num_items", 2001), ("seed", -1)])
def test_a_size_out_of_range_is_named(tmp_path: Path, name: str, value: int) -> None:
    sizes = {"seed": 42, "num_users": 12, "num_items": 40} | {name: value}
    with pytest.raises(DataError, match=f"{name} = {value} is out of range"):
        write_demo(tmp_path / "demo", seed=sizes["seed"], num_users=sizes["num_users"], num_items=sizes["num_items"])
    assert list(tmp_path.iterdir()) == []


def test_the_smallest_demo_can_be_made(tmp_path: Path) -> None:
    directory = write_demo(tmp_path / "demo", num_users=1, num_items=20)
    assert 8 <= len(_rows(directory / "interactions.csv")) <= 10
