"""A password in DATABASE_URL, and any other secret, is in nothing that a command prints."""

import pytest

SECRETS = ("Geheim-7", "other-secret", "half-of-it", "key-of-mine", "llm-key")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:Geheim-7@127.0.0.1:1/shop",
        "postgres://u@127.0.0.1:1/shop?password=other-secret",
        "postgresql://u:Geheim-7@half-of-it@127.0.0.1:1/shop",
        "mysql://u:Geheim-7@127.0.0.1/shop",
        "postgresql://u:Geheim-7@127.0.0.1:port/shop",
        "postgresql://u:Geheim-7@127.0.0.1:1/shop?no_such_option=1",
        "Geheim-7",
    ],
)
def test_no_secret_is_in_anything_that_is_printed(fedmem, data, monkeypatch, tmp_path, url):
    monkeypatch.chdir(tmp_path)
    for name, value in (("DATABASE_URL", url), ("FEDMEM_API_KEY", "key-of-mine"), ("FEDMEM_LLM_API_KEY", "llm-key")):
        monkeypatch.setenv(name, value)
    assert fedmem("config", "show", "--services").code == 0
    commands = [
        ("config", "show", "--services"),
        ("config", "show", "--services", "--json"),
        ("data", "list"),
        ("data", "import", data),
        ("db", "upgrade"),
        ("db", "current"),
        ("jobs", "list"),
        ("audit", "1"),
        ("trainer", "--until-idle"),
    ]
    for command in commands:
        outcome = fedmem(*command)
        assert outcome.code == (0 if command[0] == "config" else 2), (command, outcome)
        assert outcome.err if outcome.code else outcome.out
        assert not [secret for secret in SECRETS if secret in outcome.out + outcome.err], (command, outcome)
