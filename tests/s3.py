"""A server that speaks as S3 does, as a process of its own, and buckets on it."""

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.ports import free_port
from tests.waiting import until

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The server's URL."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: process.poll() is not None or _answers(url), "the server of buckets")
        assert process.poll() is None
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Makes a bucket and gives its URL; this process and those that it starts have its credentials meanwhile."""
    for name, value in credentials(s3_server).items():
        monkeypatch.setenv(name, value)

    def make() -> str:
        name = f"bucket-{next(_numbers)}"
        httpx.put(f"{s3_server}/{name}").raise_for_status()
        return f"s3://{name}/fedmem"

    return make


def credentials(server: str) -> dict[str, str]:
    """What the environment says of the server."""
    return {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "a-key",
        "AWS_SECRET_ACCESS_KEY": "a-secret-that-no-message-shows",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def contents(url: str) -> dict[str, bytes]:
    """Everything in a bucket by its name, asked for by another library than the product's."""
    import boto3

    asked, bucket = boto3.client("s3"), url.split("/")[2]
    pages = asked.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    names = [found["Key"] for page in pages for found in page.get("Contents", ())]
    return {name: asked.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/moto-api/", timeout=5).status_code < 500
    except httpx.TransportError:
        return False
