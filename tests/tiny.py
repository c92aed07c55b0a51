"""Tiny data, configurations and runs, so that a test trains in a blink. Everything is drawn from a seed."""

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedmem.checkpoint import Snapshot
from fedmem.config import ExperimentConfig
from fedmem.config_reader import merged, validate_config
from fedmem.contracts import Leak
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.experiment import TrainingRun
from fedmem.features.store import FrozenVectors, ItemFeatures, UserFeatures
from fedmem.federated.client import FedMemClient
from fedmem.federated.messages import Sum, UpdateSum
from fedmem.federated.parameters import parameter_arrays
from fedmem.federated.postprocessing import Postprocessors
from fedmem.federated.simulation import SCRATCH, SimulatedPopulation
from fedmem.federated.start import build_model
from fedmem.memory.entries import MemoryEntries
from fedmem.modality import Modality
from fedmem.model.recommender import UR4RecV2MoE

ITEMS = 30

# Small enough to be quick, and with nothing switched off: memories fill from round 1 on.
TINY: dict[str, dict[str, Any]] = {
    "model": {"sasrec_hidden_dim": 8, "max_seq_len": 12, "retriever_output_dim": 6, "sasrec_num_blocks": 1},
    "fedmem": {"warmup_rounds": 1, "memory_capacity": 6, "num_memory_prototypes": 3},
    "training": {"num_negatives": 10},
    "federated": {"num_rounds": 6, "client_fraction": 0.5, "server_warmup_steps": 2, "chunk_size": 3},
    "evaluation": {"eval_every": 2},
    "ablation": {"disable_moe": False},
}


# A report of what clients' messages give away, as `fedmem audit --attacks` keeps it.
LEAK = Leak(
    attack="interaction",
    what="Items of a history, from rows",
    measure="AUC",
    measured=0.97,
    chance=0.5,
    popularity=0.68,
)


def tiny_config(**changes: Any) -> ExperimentConfig:
    """The tiny configuration with changes by section: ``tiny_config(seed=3, training={"loss": "bpr"})``."""
    return validate_config(merged(TINY, changes), "the test")


def walks(num_users: int, num_items: int, *, seed: int = 0, shortest: int = 5, longest: int = 30) -> list[list[int]]:
    """Ragged sequences that step on to one of the next three items, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    sequences = []
    for _ in range(num_users):
        steps = rng.integers(1, 4, size=int(rng.integers(shortest, longest + 1)))
        sequences.append(((int(rng.integers(num_items)) + np.cumsum(steps)) % num_items + 1).tolist())
    return sequences


def tiny_dataset(num_users: int = 12, num_items: int = ITEMS, *, seed: int = 0, **lengths: int) -> FederatedDataset:
    """Users who walk through the catalogue."""
    return FederatedDataset.from_sequences(walks(num_users, num_items, seed=seed, **lengths), num_items, name="tiny")


def vectors(n: int, dim: int, missing: Sequence[int], seed: int) -> FrozenVectors:
    """Frozen vectors of n items of which some lack the modality."""
    rng = np.random.default_rng(seed)
    drawn = [rng.standard_normal(dim).astype(np.float32) for _ in range(n)]
    return FrozenVectors.fitted([None if index in missing else vector for index, vector in enumerate(drawn)])


def tiny_features(num_items: int = ITEMS, *, text: bool = True, image: bool = True) -> ItemFeatures:
    """Frozen features, some items without text and some without image."""
    drawn = {Modality.TEXT: vectors(num_items, 7, (3, 4), seed=1)} if text else {}
    if image:
        drawn[Modality.VISUAL] = vectors(num_items, 5, (4, 9), seed=2)
    return ItemFeatures(num_items, drawn)


def tiny_preferences(num_users: int, dim: int = 7) -> UserFeatures:
    """Encoded preference texts of all users but every third."""
    drawn = np.random.default_rng(3).standard_normal((num_users, dim)).astype(np.float32)
    mask = np.arange(num_users) % 3 != 0
    return UserFeatures(drawn * mask[:, None], mask)


def tiny_snapshot(
    config: ExperimentConfig | None = None,
    dataset: FederatedDataset | None = None,
    *,
    text: bool = True,
    image: bool = True,
    preferences: bool = True,
) -> Snapshot:
    """Everything a run starts from, with drawn features."""
    dataset = tiny_dataset() if dataset is None else dataset
    config = tiny_config() if config is None else config
    users = tiny_preferences(dataset.num_users) if preferences and text else UserFeatures.empty(dataset.num_users)
    return Snapshot(config, dataset, tiny_features(dataset.num_items, text=text, image=image), users)


def population_of(snapshot: Snapshot, *, double: bool = False) -> SimulatedPopulation:
    """All clients of a snapshot around a fresh model, in float64 if asked for."""
    model = build_model(snapshot.config, snapshot.dataset.num_items, snapshot.features)
    if double:
        model.double()
    return population_around(model, snapshot)


def population_around(model: UR4RecV2MoE, snapshot: Snapshot) -> SimulatedPopulation:
    """All clients of a snapshot around a model."""
    return SimulatedPopulation(snapshot.config, snapshot.dataset, snapshot.features, snapshot.user_features, model)


def client_of(population: SimulatedPopulation, user: int) -> FedMemClient:
    """One user's device with an empty memory."""
    return FedMemClient(population.config.fedmem, population.host.chunk(np.array([user]), 0))


def total(sums: Iterable[UpdateSum]) -> UpdateSum:
    """The sum of chunks, in their order."""
    return functools.reduce(operator.add, sums)


def numbers(metrics: Mapping[str, Sum]) -> dict[str, list[float]]:
    """What metric sums are made of, by name: totals, weights and counts by bin."""
    parts = ("total", "weight", "value", "by_bin")
    return {n: np.hstack([vars(found)[p] for p in parts if p in vars(found)]).tolist() for n, found in metrics.items()}


def memories_of(population: SimulatedPopulation, round_number: int) -> dict[int, MemoryEntries]:
    """What every client remembers after a number of completed rounds."""
    return {user: entries for some in population.memories(round_number) for user, entries in some.items()}


def trained(path: Path, snapshot: Snapshot | None = None, postprocessors: Postprocessors = ()) -> TrainingRun:
    """A run in ``path``, trained to its end and tested."""
    run = TrainingRun.start(path, tiny_snapshot() if snapshot is None else snapshot, postprocessors)
    for _ in run.rounds():
        pass
    run.finish()
    return run


def files_of(path: Path) -> dict[str, bytes]:
    """Every file of a run directory by its relative path, without what the clock says."""
    files = [file for file in path.rglob("*") if file.is_file() and SCRATCH not in file.as_posix()]
    contents = {file.relative_to(path).as_posix(): file.read_bytes() for file in files}
    for name, timed in (("run.json", b'"seconds"'), ("manifest.json", b'"started"')):
        if name in contents:
            contents[name] = b"".join(line for line in contents[name].splitlines(keepends=True) if timed not in line)
    return contents


def noisy_parameters(population: SimulatedPopulation, seed: int = 0) -> dict[str, np.ndarray]:
    """The model's parameters with noise on all, so that nothing hides behind the experts' zero start."""
    rng = np.random.default_rng(seed)
    own = parameter_arrays(population.model)
    return {name: (p + 0.2 * rng.standard_normal(p.shape)).astype(p.dtype) for name, p in own.items()}
