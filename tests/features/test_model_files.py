import socket
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.hf_api import RepoSibling

from fedmem.errors import FeatureError
from fedmem.features import model_files
from fedmem.features.model_files import OFFLINE_MODEL, OFFLINE_WEIGHTS_SHA256, find_model


@pytest.fixture
def no_hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This disk's hub cache is empty, whatever it is in truth."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def _model_directory(path: Path, weights: bytes = b"weights", settings: str = "{}") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "model.safetensors").write_bytes(weights)
    (path / "config.json").write_text(settings)
    return path


def test_a_local_path_is_taken_as_it_is(tmp_path: Path) -> None:
    directory = _model_directory(tmp_path / "mine")
    found = find_model(str(directory), "text")
    assert found.directory == directory
    assert found.name == "mine"
    assert found.identity.startswith("mine sha256:")


def test_the_fingerprint_covers_weights_and_settings(tmp_path: Path) -> None:
    first = find_model(str(_model_directory(tmp_path / "a")), "text")
    same = find_model(str(_model_directory(tmp_path / "b")), "text")
    settings = find_model(str(_model_directory(tmp_path / "c", settings='{"x": 1}')), "text")
    weights = find_model(str(_model_directory(tmp_path / "d", weights=b"others")), "text")
    assert first.fingerprint == same.fingerprint
    assert len({first.fingerprint, settings.fingerprint, weights.fingerprint}) == 3
    assert settings.weights_sha256 == first.weights_sha256 != weights.weights_sha256


def test_weights_changed_in_place_change_the_identity(tmp_path: Path) -> None:
    before = find_model(str(_model_directory(tmp_path / "a")), "text").identity
    after = find_model(str(_model_directory(tmp_path / "a", weights=b"longer weights")), "text").identity
    assert before != after


@pytest.mark.parametrize("name", ["./not-there", "~/not-there-either-1f3a", "/not/there"])
def test_a_path_that_is_not_there_is_not_asked_of_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "_from_hub", lambda *_: pytest.fail("asked the hub"))
    with pytest.raises(FeatureError, match="is not a directory"):
        find_model(name, "text")


def test_a_directory_without_weights(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"no model weights.*features\.image=off"):
        find_model(str(tmp_path), "image")


@pytest.mark.usefixtures("no_hub_cache", "real_encoder")
def test_the_offline_package_serves_before_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "_from_hub", lambda *_: pytest.fail("asked the hub"))
    assert find_model(OFFLINE_MODEL, "text").weights_sha256 == OFFLINE_WEIGHTS_SHA256
    assert find_model(f"sentence-transformers/{OFFLINE_MODEL}", "text").weights_sha256 == OFFLINE_WEIGHTS_SHA256


@pytest.mark.usefixtures("no_hub_cache")
def test_weights_that_are_not_the_published_ones_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    directory = _model_directory(tmp_path / "package")
    monkeypatch.setattr(model_files, "_offline_weights", lambda: directory / "model.safetensors")
    with pytest.raises(FeatureError, match=f"not the published {OFFLINE_WEIGHTS_SHA256}"):
        find_model(OFFLINE_MODEL, "text")


@pytest.mark.usefixtures("no_hub_cache")
def test_without_package_and_hub_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "OFFLINE_PACKAGE", "no-such-package-is-installed")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FeatureError) as caught:
        find_model(OFFLINE_MODEL, "text")
    for remedy in ("fedmem[offline]", "model.text_model_name", "features.text=off"):
        assert remedy in str(caught.value)


@pytest.mark.usefixtures("no_hub_cache")
def test_a_hub_that_does_not_answer_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(model_files, "HUB_TIMEOUT_SECONDS", 0.3)
        given, asked = [], HfApi.model_info

        def waited(api: HfApi, name: str, timeout: float) -> Any:
            given.append(timeout)
            return asked(api, name, timeout=timeout)

        monkeypatch.setattr(HfApi, "model_info", waited)
        with pytest.raises(FeatureError, match=r"hub did not give it.*descriptor"):
            find_model("clip-ViT-B-32", "image")
        assert given == [0.3]


def test_only_the_files_that_are_loaded_are_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}
    names = ["config.json", "vocab.txt", "model.safetensors", "pytorch_model.bin", "onnx/model.json", "README.md"]

    def model_info(_: object, repository: str, timeout: float) -> Any:
        siblings = [RepoSibling(rfilename=name) for name in names]
        return type("Info", (), {"siblings": siblings})

    def snapshot_download(repository: str, local_files_only: bool = False, **options: Any) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("nothing here")
        asked.update(options, repository=repository)
        return str(_model_directory(tmp_path / "snapshot"))

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    found = find_model("paraphrase-MiniLM-L3-v2", "text")
    assert asked["repository"] == "sentence-transformers/paraphrase-MiniLM-L3-v2"
    assert sorted(asked["allow_patterns"]) == ["config.json", "model.safetensors", "vocab.txt"]
    assert found.name == "paraphrase-MiniLM-L3-v2"
    assert found.directory == tmp_path / "snapshot"
