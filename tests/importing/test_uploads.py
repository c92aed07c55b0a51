"""Uploads on the disk: how long they stay, that one is read at a time, and that a killed process is known for dead."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from fedmem.contracts.uploads import ImportUpload, ReadUpload
from fedmem.errors import ConflictError, DataError, DiskFullError, UnknownError
from fedmem.importing import uploads as uploads_module
from fedmem.importing.uploads import KEPT_SECONDS, MOST, RESERVE, Uploads
from tests.clock import Clock
from tests.waiting import until

ORDER = ReadUpload()


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path / "uploads", "sqlite:///nowhere.db")


@pytest.fixture
def sleeping(monkeypatch):
    """The process sleeps instead of reading; the list has those that were started."""
    started, popen = [], subprocess.Popen

    def sleep(command, **options):
        started.append(popen([sys.executable, "-c", "import time; time.sleep(600)"], **options))
        return started[-1]

    monkeypatch.setattr(uploads_module.subprocess, "Popen", sleep)
    yield started
    for process in started:
        process.kill()
        process.wait()


def put(uploads, filename="orders.csv"):
    with uploads.arriving(filename) as arrival:
        arrival.path.write_text("user_id,item_id\n", encoding="utf-8")
        return uploads.end(arrival).upload_id


def test_what_is_read_when_all_are_removed_goes_once_that_is_done(uploads, sleeping):
    read, other = put(uploads), put(uploads)
    uploads.start(read, ORDER)
    uploads.remove_all()
    assert uploads.get(read).state == "reading"
    with pytest.raises(UnknownError):
        uploads.get(other)
    sleeping[0].kill()
    sleeping[0].wait()
    uploads.tidy()
    with pytest.raises(UnknownError):
        uploads.get(read)


def test_an_upload_is_told_by_name_and_size(uploads):
    found = uploads.get(put(uploads))
    assert (found.filename, found.size, found.state) == ("orders.csv", 16, "uploaded")


@pytest.mark.parametrize("name", ["..", ".", "a/b.csv", "ä" * 128])
def test_a_name_that_is_a_way_elsewhere_is_refused(uploads, tmp_path, name):
    with pytest.raises(DataError, match="is no name of a file"):
        put(uploads, name)
    assert not (tmp_path / "uploads").exists()


def test_one_that_is_not_there(uploads):
    for call in (uploads.get, uploads.file, lambda upload_id: uploads.start(upload_id, ORDER)):
        with pytest.raises(UnknownError, match="upload"):
            call("0" * 32)
    uploads.remove("0" * 32)


def test_there_are_not_very_many(uploads):
    ids = [put(uploads) for _ in range(MOST)]
    for age, upload_id in enumerate(ids):
        os.utime(uploads.file(upload_id).parents[1], (age, time.time() - age))
    new = put(uploads)
    assert {upload.upload_id for upload in uploads.all()} == {new, *ids[:-1]}, "what was not used for longest gave way"


def test_what_just_arrives_or_is_read_gives_way_to_nothing(uploads, sleeping):
    read = put(uploads)
    uploads.start(read, ORDER)
    with contextlib.ExitStack() as stack:
        for _ in range(MOST - 1):
            stack.enter_context(uploads.arriving("orders.csv"))
        with pytest.raises(ConflictError, match=f"{MOST} uploads arrive or are read just now"):
            put(uploads)
        assert [upload.upload_id for upload in uploads.all()] == [read]


def test_what_was_not_used_for_an_hour_goes(tmp_path):
    clock = Clock(0.0)
    uploads = Uploads(tmp_path / "uploads", "sqlite:///nowhere.db", clock)
    upload_id = put(uploads)
    written = (tmp_path / "uploads" / upload_id).stat().st_mtime
    clock.now = written + KEPT_SECONDS - 1
    uploads.tidy()
    assert uploads.get(upload_id)
    clock.now = written + KEPT_SECONDS + 1
    uploads.tidy()
    with pytest.raises(UnknownError):
        uploads.get(upload_id)


def test_one_is_read_at_a_time_and_is_removed_once_its_process_has_ended(uploads, sleeping, monkeypatch):
    monkeypatch.setattr(uploads_module, "STOP_SECONDS", 0.0)
    first, second = put(uploads), put(uploads)
    assert uploads.start(first, ORDER).state == "reading"
    assert uploads.get(first).state == "reading"
    with pytest.raises(ConflictError, match="another upload is being read"):
        uploads.start(second, ORDER)
    with pytest.raises(ConflictError, match="has not ended yet"):
        uploads.remove(first)
    uploads.remove(second)
    sleeping[0].kill()
    sleeping[0].wait()
    uploads.tidy()
    assert uploads.all() == []


def test_a_process_that_was_killed_is_known_for_dead(uploads, sleeping):
    upload_id = put(uploads)
    uploads.start(upload_id, ORDER)
    os.kill(sleeping[0].pid, signal.SIGKILL)
    found = until(lambda: (got := uploads.get(upload_id)).state == "failed" and got, "the end of the process")
    assert "nothing was stored" in found.error
    assert uploads.start(upload_id, ORDER).state == "reading", "it can be tried again"


def test_of_an_import_that_was_killed_nothing_is_claimed(uploads, sleeping):
    upload_id = put(uploads)
    uploads.start(upload_id, ImportUpload(dataset="shop"))
    sleeping[0].kill()
    found = until(lambda: (got := uploads.get(upload_id)).state == "failed" and got, "the end of the process")
    assert "what is stored already counts once" in found.error


def test_what_arrived_when_its_process_was_killed_gives_way(uploads, tmp_path):
    for number in range(MOST):
        folder = tmp_path / "uploads" / f"{number:032x}"
        (folder / "file").mkdir(parents=True)
        (folder / "file" / "orders.csv").write_text("half")
        (folder / "arriving").touch()  # whose lock no process holds
    new = put(uploads)
    assert [upload.upload_id for upload in uploads.all()] == [new]
    assert len(list((tmp_path / "uploads").glob("*/"))) == MOST


def test_one_that_arrives_for_long_stays_and_one_that_fails_goes(tmp_path):
    clock = Clock(time.time())
    uploads = Uploads(tmp_path / "uploads", "sqlite:///nowhere.db", clock)
    with uploads.arriving("orders.csv") as arrival:
        clock.now += 2 * KEPT_SECONDS
        uploads.tidy()
        arrival.path.write_text("user_id,item_id\n")
        assert uploads.end(arrival).size == 16
    with pytest.raises(OSError, match="cut off"), uploads.arriving("orders.csv") as arrival:
        raise OSError("cut off")
    assert not arrival.folder.exists()


def test_a_file_that_arrives_while_a_user_is_deleted_may_hold_that_user(uploads):
    with uploads.arriving("orders.csv") as arrival:
        arrival.path.write_text("user_id,item_id\n")
        uploads.remove_all()
        with pytest.raises(ConflictError, match="a user was deleted while the file arrived"):
            uploads.end(arrival)


def test_a_disk_keeps_room_for_other_things(uploads, monkeypatch):
    free = RESERVE + 100
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2 * free, free, free))
    with pytest.raises(DiskFullError, match="MiB are free, too little for this file"):
        uploads.arriving("orders.csv", 101).__enter__()
    with uploads.arriving("orders.csv", 100) as arrival:
        assert arrival.path.parent.is_dir()


@pytest.mark.parametrize("damage", ["", "{", json.dumps({"state": "read"})])
def test_a_damaged_upload_spoils_no_other(uploads, tmp_path, damage):
    damaged, whole = put(uploads), put(uploads)
    (tmp_path / "uploads" / damaged / "state.json").write_text(damage)
    assert [upload.upload_id for upload in uploads.all()] == [whole]
    with pytest.raises(UnknownError):
        uploads.start(damaged, ORDER)


def test_a_file_of_items_stays_while_it_is_read_with_another(uploads, sleeping):
    orders, items = put(uploads), put(uploads, "items.csv")
    uploads.start(orders, ReadUpload(items=items))
    with pytest.raises(ConflictError, match="describes the items of one that is being read"):
        uploads.remove(items)
    uploads.remove_all()
    assert uploads.file(items).name == "items.csv"
