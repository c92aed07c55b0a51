"""A run on disk: configuration, data snapshot, frozen features, and checkpoints that are whole or not there.

::

    DIR/manifest.json           configuration, provenance of the features, the data set's digest
        dataset.safetensors     the sequences, and dataset.json: vocabulary and catalogue
        features.safetensors    frozen item features and preference texts
        rounds/000120/          model, optimiser, prototypes and client memories after round 120
        metrics.jsonl           a line per round
        run.json                which checkpoint is last, which is best, the test result

A file is written beside its place, synced and renamed; ``run.json`` is renamed last, so that it never names what is
not there. Randomness is derived from (seed, round, client): the round number is the random state.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from fedmem import __version__
from fedmem.config import ExperimentConfig, validate_config
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Item
from fedmem.data.vocabulary import Vocabulary
from fedmem.errors import CheckpointError, FedMemError
from fedmem.features.store import ItemFeatures, UserFeatures
from fedmem.federated.aggregation import OptimizerState
from fedmem.federated.server import RoundReport, ServerState
from fedmem.memory.local_memory import LocalDynamicMemory, MemoryEntries
from fedmem.memory.prototypes import Prototypes

Array = npt.NDArray[Any]
FORMAT = 1


@dataclass(frozen=True)
class RunRecord:
    """What ``run.json`` says: the rounds of the last and the best checkpoint, and the test result once there is one."""

    last: int
    best: int
    finished: bool = False
    test: Mapping[str, Any] | None = None
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a run starts from and never changes."""

    config: ExperimentConfig
    dataset: FederatedDataset
    features: ItemFeatures
    user_features: UserFeatures
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state after a round: the server's, and every client's memory by user index."""

    server: ServerState
    memories: Mapping[int, MemoryEntries]


class RunDirectory:
    """Reads and writes one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return (self.path / "manifest.json").exists()

    def refuse_if_taken(self) -> None:
        """Refuse to overwrite a run or a file.

        Raises:
            CheckpointError: naming the directory.
        """
        if self.exists:
            raise CheckpointError(
                f"{self.path}: holds a run already. Continue it with --resume, or choose another --out."
            )
        if self.path.is_file():
            raise CheckpointError(f"{self.path}: is a file. Choose a directory for --out.")

    def write_snapshot(self, snapshot: Snapshot) -> None:
        """Write what never changes; the manifest last."""
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        dataset = snapshot.dataset
        _write_arrays(self.path / "dataset.safetensors", _dataset_arrays(dataset))
        _write_json(self.path / "dataset.json", _dataset_record(dataset))
        arrays = snapshot.features.to_arrays() | snapshot.user_features.to_arrays()
        _write_arrays(self.path / "features.safetensors", arrays)
        manifest = {
            "format": FORMAT,
            "fedmem": __version__,
            "dataset": {"name": dataset.name, "digest": dataset.digest},
            "features": dict(snapshot.provenance),
            "config": snapshot.config.model_dump(mode="json"),
        }
        _write_json(self.path / "manifest.json", manifest)

    def read_manifest(self) -> dict[str, Any]:
        """The manifest.

        Raises:
            CheckpointError: if there is no run here, or it is of another format.
        """
        if not self.exists:
            raise CheckpointError(f"{self.path}: no run here (manifest.json is missing). Train one: fedmem train --out")
        manifest = _read_json(self.path / "manifest.json")
        if manifest.get("format") != FORMAT:
            raise CheckpointError(
                f"{self.path}: format {manifest.get('format')!r} is not the format {FORMAT} that this version reads."
            )
        with _reading(self.path / "manifest.json"):
            assert {"config", "dataset", "features"} <= manifest.keys(), "a part is missing"
        return manifest

    def read_config(self) -> ExperimentConfig:
        """The run's configuration."""
        return validate_config(self.read_manifest()["config"], str(self.path / "manifest.json"))

    def read_snapshot(self) -> Snapshot:
        """Everything the run started from."""
        manifest = self.read_manifest()
        with _reading(self.path):
            arrays = _read_arrays(self.path / "features.safetensors")
            return Snapshot(
                config=self.read_config(),
                dataset=_read_dataset(self.path),
                features=ItemFeatures.from_arrays(arrays),
                user_features=UserFeatures.from_arrays(arrays),
                provenance=manifest["features"],
            )

    def read_record(self) -> RunRecord:
        """What was reached.

        Raises:
            CheckpointError: if no checkpoint was written yet, or it is damaged.
        """
        path = self.path / "run.json"
        if not path.exists():
            raise CheckpointError(
                f"{self.path}: no checkpoint yet. Let it train, or continue it: fedmem train --resume"
            )
        with _reading(path):
            return RunRecord(**_read_json(path))

    def write_checkpoint(self, checkpoint: Checkpoint, reports: Sequence[RoundReport], record: RunRecord) -> None:
        """Write the state after a round and this round's report lines, then name it in ``run.json``.

        Checkpoints that ``record`` no longer names are removed afterwards.
        """
        with _writing(self.path):
            self._write_state(checkpoint)
            self._write_metrics(reports, record.last)
            self.write_record(record)
            self._remove_unnamed(record)

    def _write_state(self, checkpoint: Checkpoint) -> None:
        folder = self._round_folder(checkpoint.server.round)
        if folder.exists():
            return
        unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process of this number that came to grief
        unfinished.mkdir(parents=True)
        _write_arrays(unfinished / "server.safetensors", _server_arrays(checkpoint.server))
        _write_arrays(unfinished / "memories.safetensors", _memory_arrays(checkpoint.memories))
        _write_json(unfinished / "server.json", _server_record(checkpoint.server))
        _sync(unfinished)
        unfinished.rename(folder)

    def write_record(self, record: RunRecord) -> None:
        """Replace ``run.json``."""
        _write_json(self.path / "run.json", vars(record))

    def read_checkpoint(self, round_number: int) -> Checkpoint:
        """The state after a round that ``run.json`` names."""
        folder = self._round_folder(round_number)
        with _reading(folder):
            arrays = _read_arrays(folder / "server.safetensors")
            record = _read_json(folder / "server.json")
            server = ServerState(
                parameters=_group(arrays, "parameters"),
                averaged=_group(arrays, "averaged"),
                optimizer=OptimizerState(_group(arrays, "first"), _group(arrays, "second"), record.pop("step")),
                global_memory=_prototypes(_group(arrays, "prototype_sums"), _group(arrays, "prototype_counts")),
                **record,
            )
            return Checkpoint(server, _memories(_read_arrays(folder / "memories.safetensors")))

    def read_best(self) -> Checkpoint:
        """The best checkpoint; read anew if training replaced it meanwhile."""
        best = self.read_record().best
        try:
            return self.read_checkpoint(best)
        except CheckpointError:
            if self.read_record().best == best:
                raise
            return self.read_best()

    def read_metrics(self) -> list[dict[str, Any]]:
        """A line per round, in order.

        Raises:
            CheckpointError: if the file is damaged.
        """
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        with _reading(path):
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def _write_metrics(self, reports: Sequence[RoundReport], last: int) -> None:
        """Rewrites the file whole: lines of rounds that a crash left behind are replaced or dropped, never doubled."""
        lines = {line["round"]: line for line in self.read_metrics() if line["round"] <= last}
        lines |= {report.round: report_line(report) for report in reports}
        ordered = [json.dumps(lines[number]) for number in sorted(lines)]
        _write_bytes(self.path / "metrics.jsonl", "".join(f"{line}\n" for line in ordered).encode())

    def _round_folder(self, round_number: int) -> Path:
        return self.path / "rounds" / f"{round_number:06d}"

    def _remove_unnamed(self, record: RunRecord) -> None:
        named = {self._round_folder(number).name for number in (record.last, record.best)}
        for folder in (self.path / "rounds").iterdir():
            if folder.name not in named:
                shutil.rmtree(folder)


def report_line(report: RoundReport) -> dict[str, Any]:
    """A round as one JSON object; timings are left out, so that the same run writes the same bytes."""
    line: dict[str, Any] = {"round": report.round, "metrics": dict(report.metrics)}
    if report.validation is not None:
        line["validation"] = report.validation.to_dict()["metrics"]
        line["is_best"] = report.is_best
    return line


def _server_arrays(state: ServerState) -> dict[str, Array]:
    memory = state.global_memory
    groups: dict[str, Mapping[str, Array]] = {
        "parameters": state.parameters,
        "averaged": state.averaged,
        "first": state.optimizer.first,
        "second": state.optimizer.second,
        "prototype_sums": {} if memory is None else memory.sums,
        "prototype_counts": {} if memory is None else memory.counts,
    }
    return {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}


def _server_record(state: ServerState) -> dict[str, Any]:
    names = ("round", "best_round", "best_metric", "stale")
    return {name: getattr(state, name) for name in names} | {"step": state.optimizer.step}


def _group(arrays: Mapping[str, Array], group: str) -> dict[str, Array]:
    return {name.removeprefix(f"{group}/"): value for name, value in arrays.items() if name.startswith(f"{group}/")}


def _prototypes(sums: dict[str, Array], counts: dict[str, Array]) -> Prototypes | None:
    return Prototypes(sums, counts) if sums else None


def memory_entries(memories: Mapping[int, LocalDynamicMemory]) -> dict[int, MemoryEntries]:
    """The entries of every memory that has any, by user index."""
    return {user: memory.entries() for user, memory in memories.items() if len(memory)}


def _memory_arrays(memories: Mapping[int, MemoryEntries]) -> dict[str, Array]:
    """All memories end to end, with each user's number of entries."""
    if not memories:
        return {"users": np.zeros(0, np.int64), "lengths": np.zeros(0, np.int64)}
    users = sorted(memories)
    names = vars(memories[users[0]])
    joined = {name: np.concatenate([getattr(memories[user], name) for user in users]) for name in names}
    return joined | {"users": np.array(users), "lengths": np.array([len(memories[user]) for user in users])}


def _memories(arrays: dict[str, Array]) -> dict[int, MemoryEntries]:
    users, lengths = arrays.pop("users"), arrays.pop("lengths")
    ends = np.cumsum(lengths)
    return {
        int(user): MemoryEntries(**{name: values[end - n : end] for name, values in arrays.items()})
        for user, n, end in zip(users, lengths, ends, strict=True)
    }


def _dataset_arrays(dataset: FederatedDataset) -> dict[str, Array]:
    return {"offsets": dataset.offsets, "sequence": dataset.sequence, "cold_users": dataset.cold_users}


def _dataset_record(dataset: FederatedDataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "digest": dataset.digest,
        "min_sequence_length": dataset.min_sequence_length,
        "users": dataset.vocabulary.users,
        "items": [_item_record(item) for item in dataset.items],
    }


def _item_record(item: Item) -> dict[str, Any]:
    return vars(item) | {"image_path": None if item.image_path is None else str(item.image_path)}


def _item(record: dict[str, Any]) -> Item:
    image = record["image_path"]
    return Item(**record | {"genres": tuple(record["genres"]), "image_path": None if image is None else Path(image)})


def _read_dataset(path: Path) -> FederatedDataset:
    record, arrays = _read_json(path / "dataset.json"), _read_arrays(path / "dataset.safetensors")
    items = tuple(_item(item) for item in record["items"])
    return FederatedDataset(
        vocabulary=Vocabulary(tuple(record["users"]), tuple(item.item_id for item in items)),
        items=items,
        min_sequence_length=record["min_sequence_length"],
        name=record["name"],
        digest=record["digest"],
        offsets=arrays["offsets"],
        sequence=arrays["sequence"],
        cold_users=arrays["cold_users"],
    )


def _write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    _write_bytes(path, save({name: np.ascontiguousarray(value) for name, value in arrays.items()}))


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    _write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def _write_bytes(path: Path, content: bytes) -> None:
    """Whole or not at all: written beside, synced, renamed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with _writing(path):
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        _sync(path.parent)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what a full or forbidding disk causes into one error that names the place."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror}). Earlier checkpoints are whole.") from None


def _sync(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file causes into one error that names it."""
    try:
        yield
    except FedMemError:
        raise
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, AssertionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: cannot be read ({reason}). The run is damaged; train it anew.") from None


def _read_json(path: Path) -> dict[str, Any]:
    with _reading(path):
        value = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(value, dict), "not a JSON object"
    return value


def _read_arrays(path: Path) -> dict[str, Array]:
    with _reading(path):
        return dict(load_file(path))
