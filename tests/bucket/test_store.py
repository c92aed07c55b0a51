"""What is wrong with a bucket is one clear error, without a secret in it."""

import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest

from fedmem.bucket import Bucket, Runs, checked_url
from fedmem.errors import BucketError, ConfigError, FedMemError
from tests.ports import free_port


def test_a_url_without_a_slash_at_its_end_is_a_buckets():
    assert checked_url("s3://bucket/folder/") == "s3://bucket/folder"
    assert checked_url("file:///srv/runs") == "file:///srv/runs"


@pytest.mark.parametrize("url", ["bucket/folder", "s3://", "s3:///", "/srv/runs", "s3:bucket"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ValueError, match="expected a URL that fsspec reads"):
        checked_url(url)


def test_a_password_in_a_url_is_refused_and_not_shown():
    with pytest.raises(ValueError, match="holds no password") as refused:
        checked_url("s3://key:hunter2@bucket/folder")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "remedy"), [("nowhere://bucket/x", "Protocol not known: nowhere"), ("gs://bucket/x", "gcsfs")]
)
def test_a_protocol_that_is_not_installed_is_said(url, remedy):
    with pytest.raises(ConfigError, match=remedy) as refused:
        Bucket(url)
    assert f"FEDMEM_BUCKET = {url!r}" in str(refused.value)


def test_where_s3fs_is_not_installed_it_is_said_how_it_is(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules, "s3fs.core", raising=False)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(ConfigError, match=r"s3:// is not installed: pip install .*\[bucket\]"):
        Bucket("s3://bucket/x")


def test_a_bucket_that_is_not_there_is_said(s3):
    s3()
    with pytest.raises(ConfigError, match="'s3://another/x': there is no such bucket"):
        Bucket("s3://another/x").check()


def test_a_bucket_that_can_be_used_is_left_empty(s3):
    bucket = Bucket(s3())
    bucket.check()
    assert bucket.names("") == []
    assert not bucket.keeps_versions()


@contextmanager
def refusing(server):
    """Let the server look at keys, of which it knows none."""
    httpx.post(f"{server}/moto-api/reset-auth", content="0").raise_for_status()
    try:
        yield
    finally:
        httpx.post(f"{server}/moto-api/reset-auth", content="inf").raise_for_status()


def test_wrong_credentials_are_said_without_them(s3, s3_server):
    bucket = Bucket(s3())
    with refusing(s3_server), pytest.raises(ConfigError, match="access is refused: AWS_ACCESS_KEY_ID") as refused:
        bucket.check()
    assert "a-secret" not in str(refused.value)
    with refusing(s3_server), pytest.raises(BucketError, match=r"\(PermissionError\): AWS_ACCESS_KEY_ID"):
        bucket.names("jobs")


def test_credentials_that_are_missing_are_said(s3, monkeypatch, tmp_path):
    url = s3()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="access is refused: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be"):
        Bucket(url).check()


def test_a_server_that_cannot_be_reached_is_no_mistake_of_the_setting(s3, monkeypatch):
    url = s3()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(BucketError, match=r"cannot be used \(.*AWS_ENDPOINT_URL"):
        Bucket(url).check()


def test_versions_are_warned_of(s3, s3_server, tmp_path, caplog):
    url = s3()
    body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    httpx.put(f"{s3_server}/{url.split('/')[2]}?versioning", content=body).raise_for_status()
    Runs.at(tmp_path, url).check()
    assert "keeps versions: what is deleted, users too, stays there until they expire" in caplog.text


@pytest.mark.parametrize("service", ["trainer", "backend"])
def test_a_service_does_not_start_with_a_bucket_that_is_none(service, tmp_path, monkeypatch):
    """In a process of its own, whose end is what is tested."""
    monkeypatch.setenv("FEDMEM_BUCKET", "nowhere://bucket/x")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/fedmem.db")
    monkeypatch.setenv("FEDMEM_DATA_DIR", str(tmp_path))
    ended = subprocess.run([sys.executable, "-m", service], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "FEDMEM_BUCKET = 'nowhere://bucket/x': Protocol not known: nowhere" in line


def test_the_setting_is_refused_by_its_name(monkeypatch):
    from trainer.settings import Settings

    monkeypatch.setenv("FEDMEM_BUCKET", "s3://key:hunter2@bucket")
    with pytest.raises(FedMemError, match="FEDMEM_BUCKET: a bucket's URL holds no password") as refused:
        Settings.load()
    assert "hunter2" not in str(refused.value)
