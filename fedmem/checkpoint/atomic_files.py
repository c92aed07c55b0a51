"""Files that are whole or not there: written beside their place, synced, renamed. What fails is one clear error."""

import json
import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fedmem.errors import CheckpointError, FedMemError, disk_error

Array = npt.NDArray[Any]
# What a file that can be read, and makes no sense, causes.
DAMAGE = (SafetensorError, ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays by name as safetensors."""
    write_bytes(path, save({name: np.ascontiguousarray(value) for name, value in arrays.items()}))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one JSON object."""
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: beside the target first, synced, then renamed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with writing(path):
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        sync(path.parent)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a full or forbidding disk causes into one error that names the place."""
    try:
        yield
    except OSError as error:
        raise disk_error(
            error,
            f"{path}: cannot be written ({error.strerror}). "
            "Make room, or choose another folder; what was there before is whole.",
        ) from None


def sync(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file causes into one error that names it."""
    try:
        yield
    except FedMemError:
        raise
    except (OSError, *DAMAGE) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: cannot be read ({reason}). The run is damaged; train it anew.") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object."""
    with reading(path):
        value = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(value, dict), "not a JSON object"
    return value


def read_arrays(path: Path) -> dict[str, Array]:
    """Read arrays by name from safetensors.

    The library reads the head and checks it. The numbers are read here, because the library would keep all other
    threads waiting meanwhile, milliseconds for a model, and answers with them.
    """
    with reading(path), safe_open(path, framework="numpy") as head, path.open("rb") as file:
        file.seek(int.from_bytes(file.read(8), "little"), os.SEEK_CUR)
        return {name: _next_array(file, head.get_slice(name)) for name in head.offset_keys()}


def _next_array(file: BinaryIO, told: Any) -> Array:
    shape, kind = told.get_shape(), told.get_dtype()  # such as F32 or BOOL
    dtype = np.dtype(bool) if kind == "BOOL" else np.dtype(f"<{kind[0].lower()}{int(kind[1:]) // 8}")
    return np.fromfile(file, dtype, math.prod(shape)).reshape(shape)
