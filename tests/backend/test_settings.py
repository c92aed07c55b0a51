"""Settings: from the environment, documented, and closed to other machines without a key."""

import pytest

from backend.settings import Settings
from fedmem.errors import ConfigError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    """No variable of ours is set, and no file .env lies here."""
    for name in Settings.model_fields:
        monkeypatch.delenv(Settings.variable(name), raising=False)
    monkeypatch.chdir(tmp_path)


def test_defaults_listen_on_this_machine_only():
    settings = Settings.load()
    assert (settings.host, settings.port, settings.api_key) == ("127.0.0.1", 8000, None)
    assert settings.database_url == "sqlite:///runs/fedmem.db"


def test_the_environment_is_read(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@host/fedmem")
    monkeypatch.setenv("FEDMEM_RATE_LIMIT", "600")
    settings = Settings.load()
    assert (settings.database_url, settings.rate_limit) == ("postgresql://u:p@host/fedmem", 600)


def test_a_file_is_read_and_may_hold_other_services_settings(tmp_path):
    (tmp_path / ".env").write_text("FEDMEM_PORT=8123\nFEDMEM_SOMETHING_ELSE=1\n", encoding="utf-8")
    assert Settings.load().port == 8123


def test_what_is_given_wins(monkeypatch):
    monkeypatch.setenv("FEDMEM_PORT", "8123")
    assert Settings.load(port=9000, host=None).port == 9000


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_key(host):
    assert Settings.load(host=host).api_key is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_beyond_loopback_a_key_is_needed(host):
    with pytest.raises(ConfigError, match=r"FEDMEM_HOST = .*set FEDMEM_API_KEY"):
        Settings.load(host=host)
    assert Settings.load(host=host, api_key="secret").host == host


def test_who_may_read_is_not_asked_where_all_may_write():
    with pytest.raises(
        ConfigError, match="FEDMEM_READ_KEY is set, and no key protects what writes: set FEDMEM_API_KEY"
    ):
        Settings.load(read_key="k")


def test_an_empty_key_is_none(monkeypatch):
    monkeypatch.setenv("FEDMEM_API_KEY", "")
    with pytest.raises(ConfigError, match="FEDMEM_API_KEY"):
        Settings.load(host="0.0.0.0")


@pytest.mark.parametrize(
    ("name", "value"), [("FEDMEM_PORT", "70000"), ("FEDMEM_MAX_K", "0"), ("FEDMEM_RATE_LIMIT", "often")]
)
def test_a_wrong_value_is_one_line_that_names_the_variable_and_the_value(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        Settings.load()
    assert str(caught.value).startswith(f"{name} = {value!r}: ")
    assert "\n" not in str(caught.value)


def test_secrets_are_not_shown(monkeypatch):
    monkeypatch.setenv("FEDMEM_API_KEY", "the-secret-key")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:the-password@host/fedmem")
    assert "the-secret-key" not in repr(Settings.load())
    assert "the-password" not in repr(Settings.load())


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().port = 1
