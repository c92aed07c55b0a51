"""What is trusted is written as hosts, origins and networks, and anything else is one clear error."""

import pytest

from fedmem.errors import ConfigError
from web.settings import WebSettings, parts


def test_lists_are_split_by_commas():
    assert parts(" a ,b,, ") == ("a", "b")
    assert parts("") == ()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ALLOWED_ORIGINS", "*", r"'\*' is no origin"),
        ("ALLOWED_ORIGINS", "https://a.example,b.example", "'b.example' is no origin"),
        ("ALLOWED_ORIGINS", "https://a.example/", "is no origin: write https://HOST or http://HOST:PORT"),
        ("TRUSTED_PROXIES", "*", r"'\*' is neither an address nor a network"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,proxy", "'proxy' is neither an address nor a network"),
        ("HEAD_SECONDS", "0", "FEDMEM_HEAD_SECONDS = '0'"),
    ],
)
def test_a_wrong_one_is_named(monkeypatch, tmp_path, name, value, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"FEDMEM_{name}", value)
    with pytest.raises(ConfigError, match=said):
        WebSettings.load()
