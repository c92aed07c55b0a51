"""A server that accepts connections and answers none of them: whatever is asked ends soon."""

import socket
import threading
import time

import pytest

from fedmem.bucket import Bucket, store
from fedmem.errors import BucketError
from tests.s3 import credentials


@pytest.fixture
def hanging(monkeypatch) -> Bucket:
    """A bucket of such a server, waited for during a fraction of the time."""
    monkeypatch.setattr(store, "WRITTEN", 1.0)
    monkeypatch.setitem(store.OPTIONS["s3"], "config_kwargs", store.PATIENCE | {"read_timeout": 0.5})
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        for name, value in credentials(f"http://127.0.0.1:{server.getsockname()[1]}").items():
            monkeypatch.setenv(name, value)
        yield Bucket("s3://bucket/fedmem")


def put(bucket: Bucket, folder) -> None:
    (folder / "big").write_bytes(bytes(1_000_000))
    bucket.put([(folder / "big", "big")])


ASKED = {
    "list": lambda bucket, folder: bucket.names("jobs"),
    "read": lambda bucket, folder: bucket.read("a"),
    "write": lambda bucket, folder: bucket.write("a", {}),
    "put": put,
    "get": lambda bucket, folder: bucket.get([("a", folder / "a")]),
    "remove": lambda bucket, folder: bucket.remove(["a"]),
    "check": lambda bucket, folder: bucket.check(),
}


@pytest.mark.parametrize("what", ASKED)
def test_whatever_is_asked_of_it_ends_as_an_error(hanging, tmp_path, what, monkeypatch):
    monkeypatch.setattr(store, "RATE", 1_000_000)
    ended: list[BaseException] = []

    def ask() -> None:
        try:
            ASKED[what](hanging, tmp_path)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(60)
    (error,) = ended
    assert isinstance(error, BucketError)
    assert "Timeout" in str(error)


def test_it_is_tried_twice_and_then_not_asked_again_for_a_while(hanging, monkeypatch):
    calls = []
    find = hanging._files.find
    monkeypatch.setattr(hanging._files, "find", lambda *names: (calls.append(names), find(*names))[1])
    assert hanging._files.retries == 2
    with pytest.raises(BucketError, match="Timeout"):
        hanging.names("jobs")
    with pytest.raises(BucketError, match="does not answer: it is asked again in"):
        hanging.names("jobs")
    assert len(calls) == 1
    hanging._quiet_until = time.monotonic()
    with pytest.raises(BucketError, match="Timeout"):
        hanging.names("jobs")
    assert len(calls) == 2
