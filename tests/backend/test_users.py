"""Feedback that counts from the next request on, export, and deletion."""

import itertools
import json
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from fedmem.checkpoint import RunDirectory, erasure
from fedmem.contracts import UserHistory
from fedmem.errors import CheckpointError
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Event
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore
from tests.backend.conftest import ITEMS, columns, problem, settings_of, wait_for_model
from tests.backend.test_models import another_model
from tests.waiting import until

ON_BOTH_DATABASES = True

NOW = 1_700_000_000


def events(user: str, *items: str, start: float = NOW) -> dict:
    return {"events": [{"user_id": user, "item_id": item, "timestamp": start + at} for at, item in enumerate(items)]}


def recommended(client: TestClient, user: str, **query: object) -> list[str]:
    return [item["item_id"] for item in client.get(f"/recommend/{user}", params={"k": 50, **query}).json()["items"]]


def remembers(directory: RunDirectory, user_id: str) -> bool:
    """Whether a checkpoint of a run holds any memory of a user."""
    user = directory.read_snapshot().dataset.vocabulary.find_user(user_id)
    memories = [directory.checkpoints.read(number).memories for number in directory.checkpoints.rounds()]
    return any(len(found[user]) for found in memories if user in found)


@pytest.fixture
def uncounted(served, monkeypatch):
    """Feedback enters the transitions only when a test says so, and not while two answers are compared."""
    monkeypatch.setattr(served.app.state.services.keeper.changes, "catch_up_with_transitions", lambda: None)


def test_feedback_counts_from_the_next_request_on(served, recommender, uncounted):
    from fedmem.contracts import Selection
    from fedmem.serving import Question

    first = recommended(served, "u03")[0]
    response = served.post("/feedback", json=events("u03", first))
    assert response.json() == {"accepted": 1, "duplicates": 0, "left_out": 0, "counted": 0, "refused": []}
    expected = recommender.answer(Question("u03", since=[first], selection=Selection(k=50)))
    assert recommended(served, "u03") == [scored.item.item_id for scored in expected.items]
    assert first not in recommended(served, "u03")


def test_a_newcomer_with_a_history_is_answered_from_it(served, uncounted):
    assert served.get("/recommend/new?strict=true").status_code == 404
    served.post("/feedback", json=events("new", "3", "4", "6", "7", "9", "10"))
    found = served.get("/recommend/new?strict=true").json()
    assert found["strategy"] == "model"
    as_sent = served.post("/recommend", json={"history": ["3", "4", "6", "7", "9", "10"]}).json()
    assert found["items"] == as_sent["items"]


def test_a_retry_is_harmless(served, uncounted):
    body = events("u03", "1", "2", "2")
    assert served.post("/feedback", json=body).json()["accepted"] == 3
    before = recommended(served, "u03")
    again = served.post("/feedback", json=body).json()
    assert (again["accepted"], again["duplicates"]) == (0, 3)
    assert recommended(served, "u03") == before


def test_unknown_items_are_named_and_nothing_is_stored(served):
    assert "'no such'" in problem(served.post("/feedback", json=events("new", "no such")), 404).detail
    assert "'nor this'" in problem(served.post("/feedback", json=events("new", "no such", "nor this")), 404).detail
    problem(served.get("/users/new/history"), 404)


@pytest.mark.parametrize("timestamp", [-1, 1e300, "now", None])
def test_a_time_that_is_none(served, timestamp):
    body = {"events": [{"user_id": "u03", "item_id": "1", "timestamp": timestamp}]}
    detail = problem(served.post("/feedback", json=body), 422).detail
    assert "events.0.timestamp" in detail
    assert "at least 1" not in detail  # there is one, and it is the one that is wrong


def test_no_event_at_all(served):
    detail = problem(served.post("/feedback", json={"events": []}), 422).detail
    assert detail == "events: give at least 1, not 0"


def test_feedback_in_the_order_of_time_whenever_it_comes(served, recommender, uncounted):
    from fedmem.contracts import Selection
    from fedmem.serving import Question

    served.post("/feedback", json=events("new", "9", "11", start=NOW))
    served.post("/feedback", json=events("new", "3", "5", "7", start=NOW - 1000))
    expected = recommender.answer(Question(history=["3", "5", "7", "9", "11"], selection=Selection(k=50)))
    assert recommended(served, "new") == [scored.item.item_id for scored in expected.items]


def test_what_another_process_stored_counts_too(served, served_world):
    engine = connect(served_world.url)
    CatalogueStore(engine).add_feedback("tiny", [Event("new", "7", float(NOW))])
    engine.dispose()
    until(lambda: "7" not in recommended(served, "new"), "what another process stored")


def test_feedback_is_there_after_a_start(served, served_world):
    served.post("/feedback", json=events("new", "7"))
    with TestClient(create_app(settings_of(served_world))) as client:
        wait_for_model(client)
        assert "7" not in recommended(client, "new")


def test_the_export_is_everything_in_order(served):
    served.post("/feedback", json=events("u03", "1"))
    history = UserHistory.model_validate(served.get("/users/u03/history").json())
    users, items, times = columns()
    known = [(item, at) for user, item, at in zip(users, items, times, strict=True) if user == "u03"]
    assert [(entry.item_id, entry.timestamp) for entry in history.interactions] == [*known, ("1", float(NOW))]
    assert history.interactions[-1].title == "Film 1"
    problem(served.get("/users/stranger/history"), 404)


def test_users_are_picked_by_a_part_of_their_id(served):
    found, path = [], "/users?q=u0&limit=4"
    while path:
        page = served.get(path).json()
        found += [user["user_id"] for user in page["users"]]
        path = page["next"]
    assert found == [f"u{number:02d}" for number in range(10)]


def test_who_is_deleted_is_unknown_at_once_and_after_a_start(served, served_world):
    served.post("/feedback", json=events("u03", "1"))
    assert served.delete("/users/u03").status_code == 204
    assert served.delete("/users/u03").status_code == 204

    def is_gone(client: TestClient) -> None:
        problem(client.get("/users/u03/history"), 404)
        problem(client.get("/recommend/u03?strict=true"), 404)
        assert client.get("/recommend/u03").json()["strategy"] == "popularity"
        assert len(recommended(client, "u03")) == ITEMS

    is_gone(served)
    with TestClient(create_app(settings_of(served_world))) as client:
        wait_for_model(client)
        is_gone(client)
        assert client.get("/recommend/u04").json()["strategy"] == "model"


def test_who_is_deleted_by_another_process_is_unknown_too(served, served_world):
    served.post("/feedback", json=events("u04", "7")).raise_for_status()
    assert served.get("/recommend/u03").json()["strategy"] == "model"
    engine = connect(served_world.url)
    for user in ("u03", "u04"):
        CatalogueStore(engine).delete_user("tiny", user)
    engine.dispose()
    for user in ("u03", "u04"):
        until(
            lambda user=user: served.get(f"/recommend/{user}").json()["strategy"] == "popularity", "a user to be gone"
        )
        assert len(recommended(served, user)) == ITEMS
    assert served.get("/recommend/u05").json()["strategy"] == "model"


def test_who_is_deleted_is_in_no_checkpoint(served, served_world):
    directory = RunDirectory(served_world.data_dir / "jobs" / "1")
    user = directory.read_snapshot().dataset.vocabulary.user_index("u03")

    def lengths(number: int) -> dict[int, int]:
        return {user: len(entries) for user, entries in directory.checkpoints.read(number).memories.items()}

    before = {number: lengths(number) for number in directory.checkpoints.rounds()}
    assert any(found.get(user) for found in before.values())
    assert served.delete("/users/u03").status_code == 204
    after = {number: lengths(number) for number in directory.checkpoints.rounds()}
    assert not any(found.get(user) for found in after.values())
    others = [{key: n for key, n in found.items() if key != user} for found in (*before.values(), *after.values())]
    assert others[: len(before)] == others[len(before) :]


def test_who_comes_back_begins_anew(served, served_world):
    """At once, in the next model, and after a start."""
    left = another_model(served_world, activate=False)
    served.delete("/users/u03")
    served.post("/feedback", json=events("u03", "7"))

    def begins_anew(client: TestClient) -> None:
        assert client.get("/recommend/u03").json()["strategy"] == "global_memory"
        assert len(recommended(client, "u03")) == ITEMS - 1

    begins_anew(served)
    assert served.post(f"/models/{left}/activate").status_code == 200
    begins_anew(served)
    with TestClient(create_app(settings_of(served_world))) as client:
        wait_for_model(client)
        begins_anew(client)
        assert client.get("/recommend/u04").json()["strategy"] == "model"


def test_who_was_deleted_while_a_job_ran_and_came_back_is_in_none_of_its_checkpoints(served, served_world):
    left = another_model(served_world, activate=False)
    engine = connect(served_world.url)
    CatalogueStore(engine).delete_user("tiny", "u03")
    engine.dispose()
    served.post("/feedback", json=events("u03", "7"))
    directory = RunDirectory(served_world.data_dir / "jobs" / "2")
    assert served.post(f"/models/{left}/activate").status_code == 200
    served.app.state.services.keeper.look()
    assert not remembers(directory, "u03")
    assert remembers(directory, "u04")


def test_deletions_at_once_are_all_done(served, served_world):
    users = [f"u{number:02d}" for number in range(12)]
    directory = RunDirectory(served_world.data_dir / "jobs" / "1")
    assert any(remembers(directory, user) for user in users)
    with ThreadPoolExecutor(len(users)) as pool:
        answers = list(pool.map(lambda user: served.delete(f"/users/{user}").status_code, users))
    assert answers == [204] * len(users)
    assert not any(remembers(directory, user) for user in users)


def test_a_damaged_file_is_removed_and_holds_up_no_deletion(served, served_world, caplog):
    left = another_model(served_world, activate=False)
    first, second = (RunDirectory(served_world.data_dir / "jobs" / str(number)) for number in (1, 2))
    damaged = second.path / "rounds" / "000000"
    shutil.copytree(second.path / "rounds" / f"{second.checkpoints.rounds()[0]:06d}", damaged)
    file = damaged / "memories-0000.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert served.delete("/users/u03").status_code == 204
    assert not file.exists()
    assert any(f"{file} was damaged" in record.getMessage() for record in caplog.records)
    shutil.rmtree(damaged)
    for directory in (first, second):
        assert not remembers(directory, "u03")
        assert remembers(directory, "u04")
    assert served.post(f"/models/{left}/activate").status_code == 200


def test_files_that_cannot_be_written_are_told_and_tried_again(served, served_world, monkeypatch, caplog):
    """Also they keep no model from being loaded: in memory the user is forgotten."""
    left = another_model(served_world, activate=False)
    first, second = (RunDirectory(served_world.data_dir / "jobs" / str(number)) for number in (1, 2))
    keeper = served.app.state.services.keeper
    write, now = erasure.write_arrays, keeper.changes.eraser.clock()

    def refuse(path, arrays):
        if second.path in path.parents:
            raise CheckpointError(f"{path}: cannot be written (Permission denied).")
        write(path, arrays)

    def complaints() -> int:
        return sum("deleted users are still in the files of job 2" in r.getMessage() for r in caplog.records)

    monkeypatch.setattr(keeper.changes.eraser, "clock", lambda: now)
    monkeypatch.setattr(erasure, "write_arrays", refuse)
    assert "cannot be written" in problem(served.delete("/users/u03"), 503).detail
    assert (remembers(first, "u03"), remembers(second, "u03")) == (False, True)
    before = complaints()  # one where the application itself looked meanwhile
    keeper.changes.erase()
    assert complaints() == before, "it has just been tried"
    now += 61
    keeper.changes.erase()
    keeper.changes.erase()
    assert complaints() == before + 1
    assert served.post(f"/models/{left}/activate").status_code == 200
    problem(served.get("/recommend/u03?strict=true"), 404)
    monkeypatch.setattr(erasure, "write_arrays", write)
    now += 61
    keeper.changes.erase()
    assert not remembers(second, "u03")
    assert served.delete("/users/u03").status_code == 204


@pytest.mark.parametrize("end", ["stopped", "paused"])
def test_who_is_deleted_while_a_job_runs_is_erased_when_it_rests(served, served_world, end):
    engine = connect(served_world.url)
    jobs = JobStore(engine)
    first = jobs.get(1)
    job, _ = jobs.create(kind="experiment", dataset="tiny", config=first.config, num_rounds=9)
    _, lease = jobs.claim("trainer", 600, 3)
    directory = RunDirectory(served_world.data_dir / "jobs" / str(job.id))
    shutil.copytree(served_world.data_dir / "jobs" / "1", directory.path)
    assert served.delete("/users/u03").status_code == 204
    served.app.state.services.keeper.changes.erase()
    assert remembers(directory, "u03"), "its trainer writes these files"
    if end == "stopped":
        jobs.stop(job.id)
        jobs.finish(lease, "stopped")
    else:
        jobs.pause(job.id)
        jobs.release(lease)
    engine.dispose()
    served.app.state.services.keeper.changes.erase()
    assert not remembers(directory, "u03")
    assert remembers(directory, "u04")


def test_who_is_deleted_is_in_no_file_that_a_killed_trainer_left(served, served_world, monkeypatch):
    job = served_world.data_dir / "jobs" / "1"
    left = [job / "rounds" / ".gone-000002.77", job / "rounds" / ".000007.77", job / ".scratch-x"]
    for folder in left:
        shutil.copytree(job / "rounds" / "000006", folder)
    erasures = served.app.state.services.keeper.changes.eraser.erasures
    pending, looks = erasures.pending, itertools.count()
    with monkeypatch.context() as taken_up:  # by another trainer, after the first look
        taken_up.setattr(erasures, "pending", lambda: [] if next(looks) else pending())
        assert served.delete("/users/u03").status_code == 204
        assert all(folder.exists() for folder in left)
    assert served.delete("/users/u04").status_code == 204
    assert not any(folder.exists() for folder in left)


def test_who_is_deleted_is_in_no_checkpoint_of_a_job_without_a_model(served, served_world):
    another_model(served_world, activate=False)
    with sqlite3.connect(served_world.database) as connection:
        connection.execute("DELETE FROM models WHERE job_id = 2")
        connection.execute("UPDATE jobs SET state = 'paused' WHERE id = 2")
    connection.close()
    directory = RunDirectory(served_world.data_dir / "jobs" / "2")
    assert remembers(directory, "u03")
    assert served.delete("/users/u03").status_code == 204
    assert not remembers(directory, "u03")


def test_who_is_deleted_is_in_no_snapshot_and_all_others_are_as_before(served, served_world):
    directory = RunDirectory(served_world.data_dir / "jobs" / "1")
    before = directory.read_snapshot()
    user = before.dataset.vocabulary.user_index("u03")
    assert served.delete("/users/u03").status_code == 204
    after = directory.read_snapshot()
    assert after.dataset.vocabulary.find_user("u03") is None
    assert not len(after.dataset.history(user))
    assert user not in after.dataset.trainable_users
    assert after.user_features.of(user) is None
    assert after.dataset.digest == before.dataset.digest
    for other in set(range(before.dataset.num_users)) - {user}:
        assert after.dataset.vocabulary.user_id(other) == before.dataset.vocabulary.user_id(other)
        assert after.dataset.history(other).tolist() == before.dataset.history(other).tolist()
    with TestClient(create_app(settings_of(served_world))) as client:
        wait_for_model(client)
        assert client.get("/recommend/u04").json()["strategy"] == "model"
        assert served.app.state.services.keeper.changes.eraser.erasures.pending() == [], (
            "what is erased is not asked for again"
        )


@pytest.mark.parametrize(
    "poison", [b'{"users": 5}', b'{"users": [[]]}', b"[" * 100_000, b"not json", {"name": "\ud800"}, None]
)
def test_a_poisoned_snapshot_of_one_job_holds_up_no_erasure(served, served_world, poison):
    """It may hold the user, and nothing can be read from it: it is removed."""
    another_model(served_world, activate=False)
    first, second = (RunDirectory(served_world.data_dir / "jobs" / str(number)) for number in (1, 2))
    if poison is None:
        (first.path / "dataset.json").unlink()
    elif isinstance(poison, dict):
        record = json.loads((first.path / "dataset.json").read_text(encoding="utf-8"))
        (first.path / "dataset.json").write_text(json.dumps(record | poison), encoding="utf-8")
    else:
        (first.path / "dataset.json").write_bytes(poison)
    assert served.delete("/users/u03").status_code == 204
    assert not remembers(second, "u03")
    assert not [*first.path.glob("dataset.*"), *first.path.glob("rounds/*/memories-*")]
    assert served.app.state.services.keeper.changes.eraser.erasures.pending() == []


def test_nothing_of_a_deleted_user_is_left_in_the_database_files(served, served_world):
    """Rows, indices, the write-ahead log: once those who read it are done, no file holds the id."""
    sent = [{"user_id": "unmistakable", "item_id": str(n), "timestamp": NOW + n} for n in range(1, 20)]
    assert served.post("/feedback", json={"events": sent}).is_success
    files = [served_world.database, served_world.database.with_name(f"{served_world.database.name}-wal")]
    assert any(b"unmistakable" in file.read_bytes() for file in files)
    assert served.delete("/users/unmistakable").status_code == 204
    keeper = served.app.state.services.keeper

    def gone() -> bool:
        keeper.look()
        return not any(b"unmistakable" in file.read_bytes() for file in files if file.exists())

    until(gone, "files without the deleted user")


def test_who_was_deleted_comes_back_with_their_past_on_purpose_alone(served):
    past = {"events": [{"user_id": "u03", "item_id": "1", "timestamp": 1}]}
    problem(served.post("/users/u03/readmit"), 404)
    assert served.delete("/users/u03").status_code == 204
    assert served.post("/feedback", json=past).json()["left_out"] == 1
    assert served.post("/users/u03/readmit").status_code == 204
    assert served.post("/feedback", json=past).json()["accepted"] == 1
    assert len(served.get("/users/u03/history").json()["interactions"]) == 1


def test_a_user_may_send_so_much_in_a_day_and_a_retry_counts_once(served_world, monkeypatch):
    with TestClient(create_app(settings_of(served_world, max_feedback_per_day=3))) as client:
        wait_for_model(client)
        for _ in range(3):
            assert client.post("/feedback", json=events("u03", "1", "2")).is_success
        other = events("u03", "3", "4", start=NOW + 100)
        found = problem(client.post("/feedback", json=other), 429)
        assert "'u03' would have 4 new events today" in found.detail
        assert client.post("/feedback", json=events("u03", "3", start=NOW + 100)).is_success
        assert client.post("/feedback", json=events("u04", "1", "2", "3")).is_success
        assert len(client.get("/users/u03/history").json()["interactions"]) == len(columns_of("u03")) + 3
        catalogue = client.app.state.services.catalogue
        tomorrow = catalogue._clock() + 86_400
        monkeypatch.setattr(catalogue, "_clock", lambda: tomorrow)
        assert client.post("/feedback", json=events("u03", "4", start=NOW + 200)).is_success


def columns_of(user_id: str) -> list[str]:
    users, items, _ = columns()
    return [item for user, item in zip(users, items, strict=True) if user == user_id]


def test_the_key_is_needed_to_write(served_world):
    with TestClient(create_app(settings_of(served_world, api_key="k"))) as client:
        wait_for_model(client)
        problem(client.post("/feedback", json=events("u03", "1")), 401)
        problem(client.delete("/users/u03"), 401)
        problem(client.put("/items/1", json={"title": "t"}), 401)
        problem(client.post("/models/job-1-round-6/activate"), 401)
        problem(client.get("/users/u03/history"), 401)
        assert client.post("/feedback", json=events("u03", "1"), headers={"X-API-Key": "k"}).status_code == 200


@pytest.mark.parametrize("user", ["a/b", "a/history", "history", "a/b/history"])
def test_an_id_may_hold_what_a_path_does(served, user):
    path = f"/users/{quote(user, safe='')}"
    served.post("/feedback", json=events(user, "1"))
    assert served.get(f"{path}/history").json()["user_id"] == user
    assert served.delete(path).status_code == 204
    problem(served.get(f"{path}/history"), 404)
    problem(served.get(path), 405)
