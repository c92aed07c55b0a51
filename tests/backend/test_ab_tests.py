"""A/B tests: a sticky split, answers of the version that they name, and what ends a test."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
from starlette.testclient import TestClient

from backend.ab_results import FEWEST, effect, verdict
from backend.app import create_app
from backend.model_loader import ModelLoader
from fedmem.storage.ab_rows import AbTestRow
from fedmem.storage.ab_tests import AbTestStore, ArmCounts
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Event
from fedmem.storage.engine import connect
from fedmem.storage.impressions import HOUR, ImpressionStore, ShownList
from tests.backend.conftest import problem, settings_of, wait_for_model
from tests.backend.test_models import another_model
from tests.clock import Clock
from tests.waiting import PATIENCE, until

ON_BOTH_DATABASES = True

USERS = [f"user {number}" for number in range(40)]


@pytest.fixture
def treatment(served_world) -> str:
    """A second model of the data set."""
    return another_model(served_world, activate=False)


@pytest.fixture
def client(served_world, treatment):
    with TestClient(create_app(settings_of(served_world, impressions=1.0))) as client:
        wait_for_model(client)
        yield client


def start(client, treatment, share=0.5):
    return client.post("/ab-tests", json={"treatment": treatment, "share": share})


def arms(client, users=USERS):
    """By user, the arm and the version that the answer names."""
    found = {user: client.get(f"/recommend/{user}").raise_for_status().json() for user in users}
    return {user: (answer["arm"], answer["model_version"]) for user, answer in found.items()}


def test_users_are_split_and_stay_where_they_are(client, treatment):
    control = client.get("/recommend/u03").json()["model_version"]
    before = client.get("/recommend/u03").json()
    assert (before["arm"], before["ab_test"]) == (None, None)
    test = start(client, treatment).json()
    assert (test["control"]["model_version"], test["treatment"]["model_version"]) == (control, treatment)
    (serving,) = client.get("/health/ready").json()["in_service"]
    assert serving["ab_test"] == {"id": test["id"], "treatment": treatment, "share": 0.5}
    first = arms(client)
    assert set(first.values()) == {("control", control), ("treatment", treatment)}
    assert arms(client) == first
    body = {"requests": [{"user_id": user, "k": 3} for user in USERS] + [{"history": ["1"], "k": 3}]}
    *batch, sent = client.post("/recommend/batch", json=body).json()["answers"]
    assert [(answer["arm"], answer["model_version"]) for answer in batch] == list(first.values())
    assert (sent["arm"], sent["model_version"]) == (None, control)
    singles = [client.get(f"/recommend/{user}?k=3").json()["items"] for user in USERS]
    assert [answer["items"] for answer in batch] == singles


def test_pages_of_a_list_stay_in_the_arm(client, treatment):
    start(client, treatment, 0.999)
    page = client.get("/recommend/u03?k=2").json()
    following = client.get(page["next"]).json()
    assert [(one["arm"], one["model_version"]) for one in (page, following)] == 2 * [("treatment", treatment)]
    pinned = client.get("/recommend/u03", params={"model": client.get("/models").json()["serving"]}).json()
    assert pinned["arm"] is None  # of a version that is not the user's


def test_another_test_splits_the_users_anew(client, treatment):
    first = start(client, treatment).json()
    split = arms(client)
    client.post(f"/ab-tests/{first['id']}/stop").raise_for_status()
    assert set(arms(client).values()) == {(None, first["control"]["model_version"])}
    start(client, treatment)
    assert arms(client) != split


def test_after_a_start_and_by_another_process_it_goes_on(client, served_world, treatment):
    start(client, treatment)
    split = arms(client)
    with TestClient(create_app(settings_of(served_world))) as again:
        wait_for_model(again)
        assert arms(again) == split
        again.post("/ab-tests/1/stop").raise_for_status()
    client.app.state.services.keeper.look()
    assert {arm for arm, _ in arms(client).values()} == {None}


def test_from_a_start_on_users_of_the_treatment_are_answered_by_it_or_wait(
    client, served_world, treatment, monkeypatch
):
    control = start(client, treatment).json()["control"]["model_version"]
    split = arms(client)
    client.app.state.services.note()
    of_arm = {arm: next(user for user, (its, _) in split.items() if its == arm) for arm in ("control", "treatment")}
    held_back, loading = threading.Event(), threading.Event()
    load = ModelLoader.load

    def wait_to_load(loader, row):
        loading.set()
        assert row.version != treatment or held_back.wait(PATIENCE)
        return load(loader, row)

    monkeypatch.setattr(ModelLoader, "load", wait_to_load)
    again = create_app(settings_of(served_world, impressions=1.0))
    with TestClient(again) as starting, ThreadPoolExecutor(1) as caller:
        assert loading.wait(PATIENCE)
        until(lambda: again.state.served.in_service, "a model that is expected")
        assert problem(starting.get("/health/ready"), 503).detail.endswith("still being loaded")
        asked = caller.submit(arms, starting, [of_arm["treatment"]])
        until(lambda: asked.done() or again.state.arrivals._under_way, "a caller who waits, or is answered")
        held_back.set()
        assert asked.result(PATIENCE) == {of_arm["treatment"]: ("treatment", treatment)}
        assert arms(starting) == split
        again.state.services.note()
    engine = connect(served_world.url)
    shown = {user: {row.version for row in ImpressionStore(engine).of_user("tiny", user)} for user in USERS}
    engine.dispose()
    assert shown == {user: {version} for user, (_, version) in split.items()}
    assert {control, treatment} == set().union(*shown.values())


def test_another_activation_ends_it(client, treatment):
    start(client, treatment)
    client.post(f"/models/{treatment}/activate").raise_for_status()
    assert set(arms(client).values()) == {(None, treatment)}
    (test,) = client.get("/ab-tests?dataset=tiny").json()["tests"]
    assert test["ended_because"] == f"{treatment} went into service: asked for by HTTP"
    control = test["control"]["model_version"]
    start(client, control)
    client.post("/models/rollback?dataset=tiny").raise_for_status()
    assert client.get("/ab-tests/2").json()["ended_because"].startswith(f"{control} went into service: rolled back")


def test_activating_the_control_again_changes_nothing(client, treatment):
    control = start(client, treatment).json()["control"]["model_version"]
    client.post(f"/models/{control}/activate").raise_for_status()
    assert client.get("/ab-tests/1").json()["ended_at"] is None
    assert {arm for arm, _ in arms(client).values()} == {"control", "treatment"}


def test_while_it_runs_the_model_of_a_job_waits(client, served_world, treatment):
    start(client, treatment)
    waits = another_model(served_world, activate=True)
    (model,) = (one for one in client.get("/models").json()["models"] if one["version"] == waits)
    assert (model["state"], model["waits"].partition(" of ")[0]) == ("ready", "A/B test 1")
    client.app.state.services.keeper.look()
    assert {arm for arm, _ in arms(client).values()} == {"control", "treatment"}


def test_what_cannot_be_tried(client, treatment, served_world):
    control = client.get("/models").json()["serving"]
    problem(start(client, "no such"), 404)
    assert "serves all users" in problem(start(client, control), 409).detail
    problem(start(client, treatment, share=1.0), 422)
    start(client, treatment).raise_for_status()
    assert "stop it first" in problem(start(client, treatment), 409).detail
    client.post("/ab-tests/1/stop").raise_for_status()
    assert "has ended: stopped by HTTP" in problem(client.post("/ab-tests/1/stop"), 409).detail
    problem(client.get("/ab-tests/7"), 404)
    problem(client.post("/ab-tests/7/stop"), 404)


def test_where_memory_holds_one_model_no_two_are_compared(served_world, treatment):
    with TestClient(create_app(settings_of(served_world, models_in_memory=1))) as client:
        wait_for_model(client)
        assert "FEDMEM_MODELS_IN_MEMORY" in problem(start(client, treatment), 409).detail


@pytest.mark.parametrize(
    ("damage", "because"),
    [
        ("share = 'half'", "its share is 'half', no number between 0 and 1"),
        ("share = 1e300", "its share is 1e+300"),
        ("salt = 'text'", "its salt is not of 64 bytes at most"),
        ("salt = zeroblob(100)", "its salt is not of 64 bytes at most"),
    ],
)
def test_one_whose_row_is_damaged_ends_and_the_control_answers(client, treatment, served_world, damage, because):
    control = start(client, treatment).json()["control"]["model_version"]
    with closing(sqlite3.connect(served_world.database)) as connection, connection:
        connection.execute(f"UPDATE ab_tests SET {damage}")
    client.app.state.services.keeper.look()
    assert set(arms(client).values()) == {(None, control)}
    (test,) = client.get("/ab-tests").raise_for_status().json()["tests"]
    assert f"its row in the database is damaged: {because}" in test["ended_because"]
    assert start(client, treatment).status_code == 201


@pytest.mark.parametrize("started_at", ["'then'", "1e300"])
def test_one_whose_start_is_damaged_goes_on(client, treatment, served_world, started_at):
    start(client, treatment)
    split = arms(client)
    with closing(sqlite3.connect(served_world.database)) as connection, connection:
        connection.execute(f"UPDATE ab_tests SET started_at = {started_at}")
    client.app.state.services.keeper.look()
    assert arms(client) == split
    (test,) = client.get("/ab-tests").raise_for_status().json()["tests"]
    assert "is damaged: restore it from a backup" in test["verdict"]


def test_a_treatment_whose_checkpoint_breaks_ends_the_test(client, treatment, served_world):
    start(client, treatment)
    folder = served_world.data_dir / "jobs" / treatment.split("-")[1]
    for file in folder.glob("rounds/*/*.safetensors"):
        file.write_bytes(b"broken")
    with TestClient(create_app(settings_of(served_world))) as again:
        wait_for_model(again)
        assert {arm for arm, _ in arms(again).values()} == {None}
        assert "could not be served" in again.get("/ab-tests/1").json()["ended_because"]


def test_a_treatment_that_left_memory_is_loaded_once_it_is_asked(client, treatment):
    start(client, treatment)
    split = arms(client)
    served = client.app.state.served
    served._models = {name: model for name, model in served._models.items() if name != treatment}
    assert arms(client) == split


def test_a_deleted_user_is_forgotten_by_both(client, treatment):
    start(client, treatment)
    assert client.delete("/users/u03").status_code == 204
    assert client.get("/recommend/u03").json()["strategy"] == "popularity"
    for version in (treatment, client.get("/models").json()["serving"]):
        assert client.get("/recommend/u03", params={"model": version}).json()["strategy"] == "popularity"


def test_its_keys(served_world, treatment):
    with TestClient(create_app(settings_of(served_world, api_key="k"))) as client:
        wait_for_model(client)
        for method, path in (("GET", "/ab-tests"), ("GET", "/ab-tests/1"), ("POST", "/ab-tests/1/stop")):
            problem(client.request(method, path), 401)
        problem(start(client, treatment), 401)


def test_users_are_judged_once_their_time_is_over(served_world, treatment):
    clock = Clock(1_800_000_000.0)
    engine = connect(served_world.url)
    tests, sample = AbTestStore(engine, clock), ImpressionStore(engine, clock=clock)
    test = tests.start(treatment, 0.5)

    def shown(user, version, name, at):
        return ShownList("tiny", name, user, version, "model", at, 1, ("7", "8"), test.id)

    now = clock()
    sample.add([shown("a", test.control, "1", now), shown("a", test.control, "2", now + 20 * HOUR)])
    sample.add([shown("b", treatment, "3", now), shown("c", treatment, "4", now + 2 * HOUR)])
    sample.add([shown("d", treatment, "5", now + 20 * HOUR)])
    store = CatalogueStore(engine, clock)
    clock.advance(26 * HOUR)  # of the second answer to a, but more than 24 hours after the first
    store.take_feedback("tiny", [Event("a", "7", clock()), Event("d", "7", clock())])
    clock.now = now + 3 * HOUR
    store.take_feedback("tiny", [Event("b", "7", clock(), "click", trains=False), Event("c", "8", clock())])
    clock.now = now + 26 * HOUR
    control, tried = tests.counts(test)
    assert (control.users, control.waiting, control.hits) == (1, 0, 0)
    assert (tried.users, tried.waiting, tried.clicks, tried.hits) == (2, 1, 1, 1)
    engine.dispose()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_split_has_its_share_and_no_salt_has_anothers(share):
    users = [f"u{number}" for number in range(4000)]
    one, other = (AbTestRow(1, "d", "a", "b", share, salt) for salt in (b"1" * 16, b"2" * 16))
    tried = [test.arm_of(user) == "treatment" for test in (one, other) for user in users]
    error = (share * (1 - share) / len(users)) ** 0.5
    assert np.mean(tried[:4000]) == pytest.approx(share, abs=6 * error)
    both = np.mean(np.array(tried[:4000]) & np.array(tried[4000:]))
    assert both == pytest.approx(share**2, abs=6 * error)


def looks(rng, first, second, users=5000, every=50):
    """Whether a test is ever called real, looked at after every few users."""
    draws = [np.cumsum(rng.random(users) < share) for share in (first, second)]
    for n in range(every, users + 1, every):
        found = effect(int(draws[0][n - 1]), n, int(draws[1][n - 1]), n)
        if found is not None and found.real:
            return True
    return False


def test_who_looks_again_and_again_is_not_fooled_by_chance():
    """Of 400 tests of two models that are the same, 5 % at most; a fixed-horizon interval would err in a third."""
    rng = np.random.default_rng(5)
    fooled = sum(looks(rng, 0.12, 0.12) for _ in range(400))
    assert fooled <= 20


def test_a_difference_that_is_there_is_found():
    rng = np.random.default_rng(6)
    assert sum(looks(rng, 0.10, 0.14) for _ in range(40)) >= 36


def test_the_interval_of_the_difference():
    assert effect(10, FEWEST - 1, 10, 500) is None
    found = effect(100, 1000, 160, 1000)
    assert found.value == pytest.approx(0.06)
    assert found.low < 0.06 < found.high
    assert found.real
    assert not effect(0, 1000, 0, 1000).real


def arm_with(users, hits, clicks, version="a", waiting=0):
    return ArmCounts(version, users=users, waiting=waiting, hits=hits, clicks=clicks)


def verdict_of(control, treatment):
    hits = effect(control.hits, control.users, treatment.hits, treatment.users)
    clicks = effect(control.clicks, control.users, treatment.clicks, treatment.users)
    return verdict(control, treatment, hits, clicks, unnoted=False)


def test_the_verdict_sees_clicks_too():
    said = verdict_of(arm_with(1000, 0, 500), arm_with(1000, 0, 100))
    assert said.startswith("the control is better: clicks -")
    assert "none is shown in hits -" in said
    said = verdict_of(arm_with(1000, 100, 100), arm_with(1000, 500, 500))
    assert said.startswith("the treatment is better: hits +")
    assert ", clicks +" in said
    said = verdict_of(arm_with(1000, 100, 500), arm_with(1000, 500, 100))
    assert said.startswith("the treatment is better by hits, the control is better by clicks: hits +")
    assert verdict_of(arm_with(1000, 100, 100), arm_with(1000, 100, 100)).startswith("no difference is shown: hits -")


def test_a_shop_without_clicks_reads_of_none():
    assert "clicks" not in verdict_of(arm_with(1000, 100, 0), arm_with(1000, 100, 0))


def test_with_few_users_the_verdict_names_the_arms():
    said = verdict_of(arm_with(3, 0, 0, waiting=165), arm_with(4, 0, 0, waiting=160))
    assert "3 of the control (165 more wait) and 4 of the treatment (160 more wait)" in said
