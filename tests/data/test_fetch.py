"""Fetching over real HTTP from a server on loopback: what arrives whole is kept, anything else leaves nothing."""

import hashlib
import io
import logging
import re
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from fedmem.data.fetch import DATASETS, DatasetSource, fetch
from fedmem.errors import DataError

RATINGS = b"userId,movieId\n" + b"1,2\n" * 50_000
FILES = {"ratings.csv": RATINGS, "README": b"Please cite."}


@dataclass
class Answer:
    """What the server says at one path."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    claimed_length: int | None = -1  # -1: the true one; None: the header is left out


@dataclass
class Site:
    """A server on loopback with its answers and the requests that it saw."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here.requests.append(self.path)
            answer = here.answers.get(self.path, Answer(b"nothing here", 404))
            self.send_response(answer.status)
            length = len(answer.body) if answer.claimed_length == -1 else answer.claimed_length
            headers = answer.headers if length is None else answer.headers | {"Content-Length": str(length)}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Site(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield here
        server.shutdown()
        thread.join()


def _zip(files: Mapping[str, bytes], folder: str = "tiny") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{folder}/{name}", content)
    return packed.getvalue()


def _source(site: Site) -> DatasetSource:
    digest = "sha256:" + hashlib.sha256(RATINGS).hexdigest()
    return DatasetSource("tiny", f"{site.url}/tiny.zip", "Ours.", {"ratings.csv": digest, "README": None}, "tiny")


def _fails(source: DatasetSource, directory: Path, reason: str, client: httpx.Client | None = None) -> None:
    """The one error names the URL, the reason and the remedy, and nothing is left behind."""
    with pytest.raises(DataError) as caught:
        fetch(source, directory, client=client)
    message = str(caught.value)
    assert source.url in message
    assert re.search(reason, message), message
    assert "--data" in message
    assert not directory.exists() or list(directory.iterdir()) == []


def test_a_good_archive_is_unpacked(site: Site, tmp_path: Path) -> None:
    site.answers["/tiny.zip"] = Answer(_zip(FILES | {"other.txt": b"not asked for"}))
    folder = fetch(_source(site), tmp_path / "made" / "on the way")
    assert folder == tmp_path / "made" / "on the way" / "tiny"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert list(folder.parent.iterdir()) == [folder]


def test_progress_counts_bytes_up_to_the_total(site: Site, tmp_path: Path) -> None:
    body = _zip({"ratings.csv": RATINGS, "README": hashlib.shake_256(b"x").digest(300_000)})
    site.answers["/tiny.zip"] = Answer(body)
    calls: list[tuple[int, int | None]] = []
    fetch(_source(site), tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert len(calls) > 1
    assert calls == sorted(calls)
    assert calls[-1] == (len(body), len(body))


def test_progress_without_a_length_has_no_total(site: Site, tmp_path: Path) -> None:
    body = _zip(FILES)
    site.answers["/tiny.zip"] = Answer(body, claimed_length=None)
    calls: list[tuple[int, int | None]] = []
    fetch(_source(site), tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (len(body), None)


def test_what_is_there_and_right_is_not_fetched_again(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site.answers["/tiny.zip"] = Answer(_zip(FILES))
    first = fetch(_source(site), tmp_path)
    with caplog.at_level(logging.INFO, logger="fedmem"):
        assert fetch(_source(site), tmp_path) == first
    assert site.requests == ["/tiny.zip"]
    assert "already" in caplog.text


def test_what_is_there_and_altered_is_named_and_kept(site: Site, tmp_path: Path) -> None:
    site.answers["/tiny.zip"] = Answer(_zip(FILES))
    altered = fetch(_source(site), tmp_path) / "ratings.csv"
    altered.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"tiny is there but is not tiny.*ratings\.csv has sha256.*remove it"):
        fetch(_source(site), tmp_path)
    assert altered.read_bytes() == b"mine"


def test_an_empty_folder_is_filled(site: Site, tmp_path: Path) -> None:
    site.answers["/tiny.zip"] = Answer(_zip(FILES))
    (tmp_path / "tiny").mkdir()
    assert (fetch(_source(site), tmp_path) / "README").read_bytes() == b"Please cite."


def test_a_redirect_is_followed_also_with_a_client_of_ones_own(site: Site, tmp_path: Path) -> None:
    site.answers["/tiny.zip"] = Answer(status=302, headers={"Location": "/moved.zip"})
    site.answers["/moved.zip"] = Answer(_zip(FILES))
    with httpx.Client() as client:
        fetch(_source(site), tmp_path, client=client)
        assert not client.is_closed
    assert site.requests == ["/tiny.zip", "/moved.zip"]


def test_a_plain_file_needs_no_archive(site: Site, tmp_path: Path) -> None:
    site.answers["/ml.txt"] = Answer(b"1 2\n1 3\n")
    files = {"ml.txt": "md5:" + hashlib.md5(b"1 2\n1 3\n").hexdigest()}
    source = DatasetSource("plain", f"{site.url}/ml.txt", "Ours.", files)
    assert (fetch(source, tmp_path) / "ml.txt").read_bytes() == b"1 2\n1 3\n"
    _fails(replace(source, name="wrong", files={"ml.txt": "md5:" + "0" * 32}), tmp_path / "empty", "ml.txt has md5")


@pytest.mark.parametrize("status", [404, 403, 503])
def test_an_http_error_names_the_status(site: Site, tmp_path: Path, status: int) -> None:
    site.answers["/tiny.zip"] = Answer(b"sorry", status)
    _fails(_source(site), tmp_path, f"answered {status}")


def test_a_truncated_body_is_refused(site: Site, tmp_path: Path) -> None:
    body = _zip(FILES)
    site.answers["/tiny.zip"] = Answer(body[:-40], claimed_length=len(body))
    _fails(_source(site), tmp_path, "peer closed connection")


def test_a_truncated_body_of_unknown_length_is_refused(site: Site, tmp_path: Path) -> None:
    site.answers["/tiny.zip"] = Answer(_zip(FILES)[:-40], claimed_length=None)
    _fails(_source(site), tmp_path, "not a sound zip")


def test_a_page_instead_of_the_archive_is_refused(site: Site, tmp_path: Path) -> None:
    site.answers["/tiny.zip"] = Answer(b"<html>Please log in</html>")
    _fails(_source(site), tmp_path, "not a sound zip")


def test_a_damaged_archive_is_refused(site: Site, tmp_path: Path) -> None:
    body = bytearray(_zip(FILES))
    body[60:90] = bytes(30)
    site.answers["/tiny.zip"] = Answer(bytes(body))
    _fails(_source(site), tmp_path, "not a sound zip")


def test_a_wrong_checksum_is_refused(site: Site, tmp_path: Path) -> None:
    site.answers["/tiny.zip"] = Answer(_zip(FILES | {"ratings.csv": RATINGS + b"9,9\n"}))
    _fails(_source(site), tmp_path, r"ratings\.csv has sha256 \w{64}, not \w{64}")


def test_a_missing_member_is_refused(site: Site, tmp_path: Path) -> None:
    site.answers["/tiny.zip"] = Answer(_zip({"README": b"alone"}))
    _fails(_source(site), tmp_path, "lacks tiny/ratings.csv")


@pytest.mark.parametrize("evil", ["../evil", "tiny/../../evil", "/etc/evil", "..\\evil", "C:\\evil"])
def test_an_archive_that_escapes_its_folder_is_refused(site: Site, tmp_path: Path, evil: str) -> None:
    packed = io.BytesIO(_zip(FILES))
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(evil, "gotcha")
    site.answers["/tiny.zip"] = Answer(packed.getvalue())
    _fails(_source(site), tmp_path / "inside", "outside its folder")
    assert [path.name for path in tmp_path.rglob("*")] == ["inside"]


def test_no_network_is_one_error(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_address[1]
    source = DatasetSource("tiny", f"http://127.0.0.1:{port}/tiny.zip", "Ours.", {"ratings.csv": None}, "tiny")
    _fails(source, tmp_path, "[Cc]onnection refused")


def test_a_server_that_stays_silent_times_out(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener, httpx.Client(timeout=0.2) as client:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/tiny.zip"
        _fails(DatasetSource("tiny", url, "Ours.", {"ratings.csv": None}, "tiny"), tmp_path, "timed out", client)


def test_a_place_that_cannot_be_written_is_one_error(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="--data"):
        fetch(_source(site), tmp_path / "file")


def test_an_interrupted_download_leaves_nothing(site: Site, tmp_path: Path) -> None:
    site.answers["/tiny.zip"] = Answer(_zip(FILES))

    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(_source(site), tmp_path, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'ml-2m'.*ml-100k, ml-1m, ml-latest-small, sasrec-ml-1m"):
        fetch("ml-2m", tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_every_source_is_complete(name: str) -> None:
    source = DATASETS[name]
    assert source.name == name
    assert source.url.startswith("https://")
    assert "redistributed" in source.licence or "passed on" in source.licence
    lengths = {"md5": 32, "sha256": 64}
    for file_name, digest in source.files.items():
        assert digest is not None or file_name.startswith("README")
        if digest is not None:
            algorithm, _, code = digest.partition(":")
            assert re.fullmatch(rf"[0-9a-f]{{{lengths[algorithm]}}}", code)


def _present(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"the real data set {path.name} is not present")
    return path


@pytest.mark.parametrize("name", ["ml-100k", "ml-latest-small"])
def test_the_real_files_pass_the_real_digests(site: Site, tmp_path: Path, shared_data: Path, name: str) -> None:
    real = {path.name: path.read_bytes() for path in _present(shared_data / name).iterdir()}
    source = replace(DATASETS[name], url=f"{site.url}/{name}.zip")
    site.answers[f"/{name}.zip"] = Answer(_zip(real, name))
    fetched = fetch(source, tmp_path)
    assert {path.name: path.read_bytes() for path in fetched.iterdir()} == {file: real[file] for file in source.files}


def test_the_real_ml_1m_files_have_the_real_digests(tmp_path: Path, shared_data: Path, site: Site) -> None:
    """All but ratings.dat, which is not at hand: it is the one that the check must then miss."""
    real = {path.name: path.read_bytes() for path in _present(shared_data / "ml-1m").iterdir()}
    source = replace(DATASETS["ml-1m"], url=f"{site.url}/ml-1m.zip")
    site.answers["/ml-1m.zip"] = Answer(_zip(real | {"ratings.dat": b""}, "ml-1m"))
    _fails(source, tmp_path / "whole", r"ratings\.dat has md5")
    rest = {name: digest for name, digest in source.files.items() if name != "ratings.dat"}
    assert (fetch(replace(source, files=rest), tmp_path) / "movies.dat").is_file()


def test_the_real_sasrec_file_passes_the_real_digest(site: Site, tmp_path: Path, shared_data: Path) -> None:
    real = _present(shared_data / "ml-1m-sasrec" / "ml-1m.txt").read_bytes()
    source = replace(DATASETS["sasrec-ml-1m"], url=f"{site.url}/ml-1m.txt")
    site.answers["/ml-1m.txt"] = Answer(real)
    assert (fetch(source, tmp_path) / "ml-1m.txt").read_bytes() == real
