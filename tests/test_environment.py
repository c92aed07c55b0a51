"""The file ``.env``: which names it gives, what wins over it, and what is wrong with it."""

import os

import pytest

from fedmem.environment import origin, read_environment
from fedmem.errors import ConfigError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in ("DATABASE_URL", "FEDMEM_PORT", "FEDMEM_HOST", "FEDMEM_MAX_K"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_no_file_is_no_trouble(tmp_path):
    read_environment()
    (tmp_path / ".env").mkdir()  # a virtual environment of that name
    read_environment()
    assert origin("FEDMEM_PORT") == "default"


def test_what_reaches_a_bucket_is_taken_too(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    (tmp_path / ".env").write_text("AWS_ENDPOINT_URL=http://127.0.0.1:9000\n")
    read_environment()
    assert os.environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9000"


def test_our_names_are_taken_and_no_others(tmp_path):
    (tmp_path / ".env").write_text("export DATABASE_URL='sqlite:///x.db'\r\nfedmem_port=12\nPYTHONPATH_OF_MINE=a\n")
    read_environment()
    assert (os.environ["DATABASE_URL"], os.environ["FEDMEM_PORT"]) == ("sqlite:///x.db", "12")
    assert "PYTHONPATH_OF_MINE" not in os.environ
    assert (origin("DATABASE_URL"), origin("FEDMEM_PORT"), origin("FEDMEM_HOST")) == (".env", ".env", "default")


def test_the_environment_wins_unless_it_is_empty(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("FEDMEM_PORT=12\nFEDMEM_HOST=::1\nFEDMEM_MAX_K=\n")
    monkeypatch.setenv("FEDMEM_PORT", "13")
    monkeypatch.setenv("FEDMEM_HOST", "")
    read_environment()
    assert (os.environ["FEDMEM_PORT"], os.environ["FEDMEM_HOST"]) == ("13", "::1")
    assert (origin("FEDMEM_PORT"), origin("FEDMEM_HOST"), origin("FEDMEM_MAX_K")) == ("environment", ".env", "default")


def test_a_byte_order_mark_is_no_part_of_the_name(tmp_path):
    (tmp_path / ".env").write_text("FEDMEM_PORT=12\n", encoding="utf-8-sig")
    read_environment()
    assert os.environ["FEDMEM_PORT"] == "12"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            b"\n# ports\nFEDMEM_PORT=1\n\nFEDMEM_HOST=::1\n\nFEDMEM_PORT=2\n",
            "FEDMEM_PORT stands twice, in line 3 and line 7",
        ),
        (b"FEDMEM_PORT=1\nthe secret password\n", "line 2: expected NAME=VALUE"),
        (b"FEDMEM_PORT=\xff\xfe", "cannot be read"),
    ],
)
def test_what_is_wrong_with_the_file_is_one_line_without_its_values(tmp_path, text, why):
    (tmp_path / ".env").write_bytes(text)
    with pytest.raises(ConfigError, match=why) as caught:
        read_environment()
    assert str(tmp_path / ".env") in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "FEDMEM_PORT" not in os.environ
