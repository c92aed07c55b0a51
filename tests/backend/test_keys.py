"""Who may read and who may write: the keys of the environment, and those of a file that changes meanwhile."""

import logging

import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from backend.keys import Access, Key, KeyFile, Keys, digest
from backend.settings import Settings
from fedmem.errors import ConfigError
from tests.backend.conftest import problem, settings_of, wait_for_model
from tests.backend.test_openapi import operations

PUBLIC = {"/health/live", "/health/ready", "/metrics"}
# What reads although it is a POST: a history in the body.
READS = {("post", "/recommend"), ("post", "/recommend/batch")}
SHOP, OPS = "the-key-of-the-shop", "the-key-of-operation"
# What names users, or says what they did.
ABOUT_USERS = (
    "/users",
    "/users/{user_id}/history",
    "/evaluation/online",
    "/ab-tests",
    "/ab-tests/{test_id}",
    "/uploads",
    "/uploads/{upload_id}",
)
WRITES_SOMETHING = (
    ("post", "/feedback"),
    ("post", "/jobs"),
    ("delete", "/users/{user_id}"),
    ("post", "/uploads"),
    ("post", "/models/{version}/activate"),
)
USERS = {("get", path) for path in ABOUT_USERS}


def header(key: str) -> dict[str, str]:
    return {"X-API-Key": key}


def line(name: str, access: str, key: str) -> str:
    return f"{name} {access} sha256:{digest(key.encode())}\n"


@pytest.fixture(scope="module")
def routes():
    document = create_app(Settings(_env_file=None)).openapi()
    return [(method, path) for method, path, _ in operations(document)]


def asked(client: TestClient, method: str, path: str, **options):
    address = path.format(
        job_id=1,
        upload_id="0" * 32,
        user_id="u01",
        item_id="1",
        version="job-1-round-1",
        index=0,
        name="first",
        schedule_id=1,
        test_id=1,
    )
    return client.request(method, address, **options)


def test_every_route_asks_for_the_key_that_it_needs(settings, routes):
    with TestClient(create_app(settings(api_key="all", read_key="some"))) as client:
        for method, path in routes:
            if path in PUBLIC:
                assert asked(client, method, path).status_code in (200, 503), path
                continue
            problem(asked(client, method, path), 401)
            problem(asked(client, method, path, headers=header("other")), 401)
            closed = asked(client, method, path, headers=header("some")).status_code == 403
            assert closed is ((method != "get" and (method, path) not in READS) or (method, path) in USERS), path
            assert asked(client, method, path, headers=header("all")).status_code not in (401, 403), path


def test_with_one_key_only_what_writes_or_names_a_user_asks_for_it(settings, routes):
    with TestClient(create_app(settings(api_key="all"))) as client:
        for method, path in routes:
            closed = asked(client, method, path).status_code == 401
            assert closed is ((method != "get" and (method, path) not in READS) or (method, path) in USERS), path


def test_what_a_users_memory_holds_is_not_explained_without_the_key(served_world):
    """Everything by which the histories of 508 users were read without one."""
    explained = {"history": ["1", "2"], "explain": True}
    of_user = {"requests": [{"history": ["1"]}, {"user_id": "u03", "explain": True}]}
    with TestClient(create_app(settings_of(served_world, api_key="all"))) as client:
        wait_for_model(client)
        problem(client.get("/recommend/u03?explain=true"), 401)
        problem(client.post("/recommend/batch", json=of_user), 401)
        problem(client.get("/users/u03/history"), 401)
        problem(client.get("/users"), 401)
        assert client.get("/recommend/u03").status_code == 200
        assert client.post("/recommend", json=explained).status_code == 200, "the caller's own history"
        assert client.post("/recommend/batch", json={"requests": [explained, {"user_id": "u03"}]}).status_code == 200
        assert client.get("/recommend/u03?explain=true", headers=header("all")).json()["explanation"]["memory"]
        assert client.post("/recommend/batch", json=of_user, headers=header("all")).status_code == 200


def test_keys_of_a_file_come_and_go_without_a_restart_and_the_log_names_them(settings, tmp_path, caplog):
    file = tmp_path / "keys"
    file.write_text(line("shop", "read", SHOP), encoding="utf-8")
    caplog.set_level(logging.INFO, "backend.access")
    with TestClient(create_app(settings(keys_file=file))) as client:
        assert client.get("/jobs", headers=header(SHOP)).status_code == 200
        assert caplog.records[-1].fields["key"] == "shop"
        problem(client.post("/jobs/1/stop", headers=header(SHOP)), 403)
        file.write_text(line("shop", "read", SHOP) + line("ops", "write", OPS), encoding="utf-8")
        problem(client.post("/jobs/1/stop", headers=header(OPS)), 404)
        file.write_text(line("ops", "write", OPS), encoding="utf-8")
        problem(client.get("/users", headers=header(SHOP)), 401)
        assert client.get("/users?dataset=tiny", headers=header(OPS)).status_code == 200
    assert not [record for record in caplog.records if SHOP in str(record.__dict__) or OPS in str(record.__dict__)]


def test_reading_stays_closed_where_the_file_loses_its_last_read_key_and_opens_where_it_says_so(
    served_world, tmp_path, caplog
):
    file, rest = tmp_path / "keys", line("ops", "write", OPS)
    file.write_text(line("shop", "read", SHOP) + rest, encoding="utf-8")
    with TestClient(create_app(settings_of(served_world, keys_file=file))) as client:
        wait_for_model(client)
        assert client.get("/health/ready").json()["warnings"] == []
        for lost in (lambda: file.write_text(rest, encoding="utf-8"), file.unlink):
            caplog.clear()
            lost()
            problem(client.get("/jobs"), 401)
            assert client.get("/jobs", headers=header(OPS)).status_code == 200
            assert len(client.get("/health/ready").json()["warnings"]) == 1
            assert [record.levelname for record in caplog.records].count("ERROR") == 1
        file.write_text("reading closed\n" + rest, encoding="utf-8")
        problem(client.get("/jobs"), 401)
        file.write_text("reading open\n" + rest, encoding="utf-8")
        assert client.get("/jobs").status_code == 200
        assert client.get("/health/ready").json()["warnings"] == []


def test_a_file_that_says_reading_is_closed_is_believed_at_a_start(settings, tmp_path):
    file = tmp_path / "keys"
    file.write_text("reading closed\n" + line("ops", "write", OPS), encoding="utf-8")
    with TestClient(create_app(settings(keys_file=file))) as client:
        problem(client.get("/jobs"), 401)
        assert client.get("/jobs", headers=header(OPS)).status_code == 200


def test_a_file_that_breaks_leaves_the_keys_of_before(tmp_path, caplog):
    path = tmp_path / "keys"
    path.write_text("# ours\n\n" + line("shop", "read", "k"), encoding="utf-8")
    file = KeyFile(path)
    (shop,) = file.keys()
    assert (shop.name, shop.access) == ("shop", Access.READ)
    path.write_text("shop read\n", encoding="utf-8")
    assert file.keys() == file.keys() == (shop,)
    path.unlink()
    assert file.keys() == file.keys() == (shop,)
    assert [record.levelname for record in caplog.records].count("ERROR") == 2, "each is said once"
    path.write_text("", encoding="utf-8")
    assert file.keys() == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shop read my-secret-key\n", r"line 1: expected NAME read\|write sha256"),
        (line("shop", "all", "k"), "line 1: expected"),
        (line("shop", "read", "k") + line("shop", "write", "l"), "line 2: the name 'shop' stands twice"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_error_that_shows_no_key(tmp_path, text, said):
    path = tmp_path / "keys"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said) as caught:
        create_app(Settings(_env_file=None, keys_file=path))
    assert "my-secret-key" not in str(caught.value)


def test_the_name_that_may_do_more_counts():
    both = tuple(Key(access.name, access, digest(b"k")) for access in (Access.WRITE, Access.READ))
    assert Keys(fixed=both).demand(Access.WRITE, "k") == "WRITE"


def test_a_file_alone_locks_what_writes(settings, tmp_path):
    (tmp_path / "keys").write_text("", encoding="utf-8")
    with TestClient(create_app(settings(keys_file=tmp_path / "keys"))) as client:
        problem(client.post("/jobs", json={"dataset": "tiny"}), 401)
        assert client.get("/jobs").status_code == 200


def test_who_writes_without_a_key_is_told_that_it_writes(served_world):
    with TestClient(create_app(settings_of(served_world, api_key=OPS, read_key=SHOP))) as client:
        for method, path in (*WRITES_SOMETHING, ("get", "/users")):
            detail = problem(asked(client, method, path), 401).detail
            assert "this request writes, or shows what is stored of a user" in detail, path
        assert "this request reads" in problem(client.get("/items"), 401).detail
