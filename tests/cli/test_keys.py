"""``fedmem keys``: keys are shown once, and kept by digest in a file for its owner alone."""

import json

from backend.keys import digest, read_keys


def test_the_commands(fedmem, tmp_path):
    file = ("--file", tmp_path / "new" / "keys")
    assert "there is no key yet" in fedmem("keys", "list", *file).err
    made = fedmem("keys", "new", "shop", *file)
    assert len(made.out.strip()) > 40
    assert read_keys(file[1]).keys["shop"].digest == digest(made.out.strip().encode())
    assert made.out.strip() not in file[1].read_text(encoding="utf-8")
    assert file[1].stat().st_mode & 0o777 == 0o600
    assert json.loads(fedmem("keys", "list", *file, "--json").out) == [{"name": "shop", "access": "read"}]
    assert "there is a key 'shop' already" in fedmem("keys", "new", "shop", *file).err
    assert "'a b' cannot name a key" in fedmem("keys", "new", "a b", *file).err
    assert "there is no key 'none'; there are: shop" in fedmem("keys", "remove", "none", *file).err
    within = fedmem("keys", "new", "shop", "--file", file[1] / "more")
    assert within.err.startswith(f"error: {file[1] / 'more'}: cannot be written (")
    assert "checkpoint" not in within.err
    assert "set FEDMEM_KEYS_FILE" in fedmem("keys", "list").err


def test_without_its_last_read_key_reading_stays_closed_unless_it_is_opened(fedmem, tmp_path):
    file = ("--file", tmp_path / "keys")
    for name, access in (("ops", "write"), ("shop", "read"), ("app", "read")):
        fedmem("keys", "new", name, "--access", access, *file)
    refused = fedmem("keys", "remove", "shop", "--open", *file)
    assert "--open goes with the last key that reads; there are: app" in refused.err
    fedmem("keys", "remove", "shop", *file)
    assert "only keys that write read now" in fedmem("keys", "remove", "app", *file).err
    assert (read_keys(file[1]).reads, read_keys(file[1]).reading) == ((), "closed")
    fedmem("keys", "new", "app", *file)
    assert "every caller may read now" in fedmem("keys", "remove", "app", "--open", *file).err
    assert read_keys(file[1]).reading == "open"
    fedmem("keys", "new", "app", *file)
    assert read_keys(file[1]).reading == "closed"
