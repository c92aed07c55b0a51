"""A run on disk: configuration, data snapshot, frozen features, and checkpoints that are whole or not there.

::

    DIR/manifest.json           configuration, provenance of the features, the data set's digest, commit and time
        dataset.safetensors     the sequences, and dataset.json: vocabulary and catalogue
        features.safetensors    frozen item features and preference texts
        rounds/000120/          model, optimiser, prototypes, transitions and client memories after round 120, the
                                latter by 1,024 users a file; or, of transitions and memories, only what changed
                                since an earlier round, its base
               first-rounds.safetensors  after which round each user first handed transitions on
        metrics.jsonl           a line per round
        run.json                which checkpoint is last, which is best, the test result

A file is written beside its place, synced and renamed; ``run.json`` is renamed last, so that it never names what is
not there. Randomness is derived from (seed, round, client): the round number is the random state.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from fedmem import __version__
from fedmem.checkpoint.atomic_files import (
    read_arrays,
    read_json,
    reading,
    write_arrays,
    write_bytes,
    write_json,
    writing,
)
from fedmem.checkpoint.checkpoints import Checkpoint, Checkpoints, Lengths, Memories
from fedmem.checkpoint.records import (
    dataset_arrays,
    dataset_of,
    dataset_record,
    report_line,
)
from fedmem.config import ExperimentConfig
from fedmem.config_reader import validate_config
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import CheckpointError
from fedmem.evaluation.evaluate import repeated_shares
from fedmem.features.store import ItemFeatures, UserFeatures
from fedmem.federated.simulation import SCRATCH
from fedmem.federated.state import RoundReport, ServerState
from fedmem.memory.prototype_map import PrototypeMap
from fedmem.modality import Modality
from fedmem.provenance import now, source_commit

FORMAT = 2
# Those in use, by the digest of their files: a model version that is put into service shares that of the one before.
_DATASETS: WeakValueDictionary[bytes, FederatedDataset] = WeakValueDictionary()


@dataclass(frozen=True)
class RunRecord:
    """What ``run.json`` says: the rounds of the last and the best checkpoint, and the test result once there is one.

    ``test_without_transitions`` is that of the same model without the transition memory, where it has one.
    """

    last: int
    best: int
    finished: bool = False
    test: Mapping[str, Any] | None = None
    seconds: float = 0.0
    test_without_transitions: Mapping[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a run starts from and never changes; of its postprocessors, how they are written."""

    config: ExperimentConfig
    dataset: FederatedDataset
    features: ItemFeatures
    user_features: UserFeatures
    provenance: Mapping[str, str] = field(default_factory=dict)
    postprocessors: tuple[str, ...] = ()


class RunDirectory:
    """Reads and writes one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path / "rounds")

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
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self.write_dataset(snapshot.dataset)
        arrays = snapshot.features.to_arrays() | snapshot.user_features.to_arrays()
        write_arrays(self.path / "features.safetensors", arrays)
        self.write_manifest(snapshot)

    def write_dataset(self, dataset: FederatedDataset) -> None:
        """Write the sequences, the vocabulary and the catalogue."""
        write_arrays(self.path / "dataset.safetensors", dataset_arrays(dataset))
        write_json(self.path / "dataset.json", dataset_record(dataset))

    def write_manifest(self, snapshot: Snapshot) -> None:
        """Write, or replace where a resumed run is to go on longer, what the run is; it keeps when it was started."""
        dataset = snapshot.dataset
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "fedmem": __version__,
            **self._begun(),
            "dataset": {
                "name": dataset.name,
                "digest": dataset.digest,
                "repeated_targets": repeated_shares(dataset),
            },
            "features": dict(snapshot.provenance),
            "config": snapshot.config.model_dump(mode="json"),
        }
        if snapshot.postprocessors:
            manifest["postprocessors"] = list(snapshot.postprocessors)
        write_json(self.path / "manifest.json", manifest)

    def _begun(self) -> dict[str, str | None]:
        """Return with which source and when the run was started."""
        if not self.exists:
            return {"commit": source_commit(), "started": now()}
        before = self.read_manifest()
        return {name: before.get(name) for name in ("commit", "started")}

    def read_manifest(self) -> dict[str, Any]:
        """Read the manifest.

        Raises:
            CheckpointError: if there is no run here, or it is of another format.
        """
        if not self.exists:
            raise CheckpointError(f"{self.path}: no run here (manifest.json is missing). Train one: fedmem train --out")
        manifest = read_json(self.path / "manifest.json")
        if manifest.get("format") != FORMAT:
            raise CheckpointError(
                f"{self.path}: format {manifest.get('format')!r} is not the format {FORMAT} that this version reads."
            )
        with reading(self.path / "manifest.json"):
            assert {"config", "dataset", "features"} <= manifest.keys(), "a part is missing"
        return manifest

    def read_config(self) -> ExperimentConfig:
        """Return the run's configuration."""
        return validate_config(self.read_manifest()["config"], str(self.path / "manifest.json"))

    def read_snapshot(self) -> Snapshot:
        """Read everything the run started from."""
        manifest = self.read_manifest()
        with reading(self.path):
            arrays = read_arrays(self.path / "features.safetensors")
            return Snapshot(
                config=self.read_config(),
                dataset=self._dataset(),
                features=ItemFeatures.from_arrays(arrays),
                user_features=UserFeatures.from_arrays(arrays),
                provenance=manifest["features"],
                postprocessors=tuple(manifest.get("postprocessors", ())),
            )

    def read_dataset(self) -> FederatedDataset:
        """Read the data set alone, which takes less memory than all that the run started from."""
        self.read_manifest()
        with reading(self.path):
            return self._dataset()

    def _dataset(self) -> FederatedDataset:
        """Read the data set; return the same object as long as one with the same content is in use."""
        record, sequences = self.path / "dataset.json", self.path / "dataset.safetensors"
        digest = hashlib.sha256(record.read_bytes() + sequences.read_bytes()).digest()
        found = _DATASETS.get(digest)
        if found is None:
            found = _DATASETS[digest] = dataset_of(read_json(record), read_arrays(sequences))
        return found

    def read_record(self) -> RunRecord:
        """Read how far the run has come.

        Raises:
            CheckpointError: if no checkpoint was written yet, or it is damaged.
        """
        path = self.path / "run.json"
        if not path.exists():
            raise CheckpointError(
                f"{self.path}: no checkpoint yet. Let it train, or continue it: fedmem train --resume"
            )
        with reading(path):
            return RunRecord(**read_json(path))

    def write_checkpoint(
        self,
        server: ServerState,
        memories: Iterable[Memories],
        reports: Sequence[RoundReport],
        record: RunRecord,
        handed_on: Lengths | None = None,
    ) -> None:
        """Write the state after a round and the reports since the last one, then name it in ``run.json``.

        ``memories`` come some at a time, so that not all need be held at once. Checkpoints that ``record`` no longer
        names are removed afterwards.
        """
        self.checkpoints.write(server, memories, handed_on=handed_on)
        with writing(self.path):
            self._write_metrics(reports, record.last)
            self.write_record(record)
            self.checkpoints.keep((record.last, record.best))

    def write_record(self, record: RunRecord) -> None:
        """Replace ``run.json``."""
        write_json(self.path / "run.json", vars(record))

    def prepare(self) -> None:
        """Make the folder and remove what a killed run left, before working files are put there."""
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        for folder in self.leftovers():
            shutil.rmtree(folder, ignore_errors=True)

    def leftovers(self) -> list[Path]:
        """List the working files, which are a killed run's where none is under way."""
        return [*self.path.glob(f"{SCRATCH}*"), *self.path.glob("rounds/.*")]

    def read_best(self) -> Checkpoint:
        """Read the best checkpoint, anew if training replaced it meanwhile."""
        best = self.read_record().best
        try:
            return self.checkpoints.read(best)
        except CheckpointError:
            if self.read_record().best == best:
                raise
            return self.read_best()

    def read_metrics(self) -> list[dict[str, Any]]:
        """Read one line per round, in order.

        Raises:
            CheckpointError: if the file is damaged.
        """
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        with reading(path):
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def _write_metrics(self, reports: Sequence[RoundReport], last: int) -> None:
        """Rewrite the whole file: lines of rounds that a crash left behind are replaced or dropped, never doubled."""
        lines = {line["round"]: line for line in self.read_metrics() if line["round"] <= last}
        lines |= {report.round: report_line(report) for report in reports}
        ordered = [json.dumps(lines[number]) for number in sorted(lines)]
        write_bytes(self.path / "metrics.jsonl", "".join(f"{line}\n" for line in ordered).encode())

    def write_map(self, drawn: PrototypeMap) -> None:
        """Keep the map on which the run's prototypes are shown."""
        arrays = {name: value for name, value in vars(drawn).items() if name != "block"}
        write_arrays(self.path / f"map-{drawn.block.stored}.safetensors", arrays)

    def read_map(self) -> PrototypeMap | None:
        """Read the map, or return None if there is none yet."""
        for block in Modality:
            path = self.path / f"map-{block.stored}.safetensors"
            if path.exists():
                return PrototypeMap(block, **read_arrays(path))
        return None

    def copy_from(self, other: "RunDirectory", config: ExperimentConfig, rounds: Iterable[int]) -> None:
        """Make this the continuation of another run, under its own configuration, from copies of the checkpoints."""
        self.prepare()
        with writing(self.path):
            for pattern in ("dataset.*", "features.safetensors", "map-*.safetensors"):
                for path in other.path.glob(pattern):
                    shutil.copy(path, self.path / path.name)
            self.checkpoints.copy_from(other.checkpoints, rounds)
        self.write_manifest(dataclasses.replace(other.read_snapshot(), config=config))
