"""P1, P3, P4 and P5: the speed of simulated training, as ratios in one interleaved run.

All times are CPU times of one thread. A side is timed turn by turn with its peer, and a ratio is that of the medians.

p1           GFLOP/s of the model's own arithmetic in W's client updates (64 clients; all that they need is timed),
             over that of a product of two 1024 × 1024 float32 matrices. Counted per real token, never for padding:
             forward 2·6·D² per block for its six matrices, 4·T·D for attention over the T positions of the token's own
             segment, 2·D·(1 + N) for the scores; the backward pass twice that. Norms, softmax, embeddings and Adam are
             not counted.
p3           client updates per CPU-second of FedMem-Full (configs/fedmem_full.yaml), over those of chunks of one,
             which is one client at a time: the same tenth of ML-100K's users on both sides, with memories that are
             filled, their reading and writing, and the distilling of prototypes.
p3_original  ours times 1.5, the CPU-seconds per client measured on the published original on such a machine.
p4           a round of FedMem-Full with the configured loss, over the same round with memory and retriever off; every
             user has a memory.
p5           a whole round at 100,000 items over one at 3,000 items, sampled softmax, the same 94 clients with the same
             histories: broadcast, training, aggregation, the server's Adam, the moving average.

Where ML-100K is absent, users of its size are generated. Vectors of items and preference texts are drawn, because their
values cost no time.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import SGEMM_GFLOP, interleaved, machine, ratio, sgemm
from benchmarks.workload import generated_dataset, p1_config
from fedmem.config import ExperimentConfig
from fedmem.config_reader import merged, validate_config
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.features.inference import one_thread
from fedmem.features.store import FrozenVectors, ItemFeatures, UserFeatures
from fedmem.federated.local_steps import LocalSteps
from fedmem.federated.server import FedMemServer
from fedmem.federated.simulation import SimulatedPopulation
from fedmem.federated.start import build_model, initial_state
from fedmem.modality import Modality

CLIENTS = 64  # of W
FEW_ITEMS, MANY_ITEMS = 3000, 100_000
ORIGINAL_SECONDS = 1.5  # CPU-s per client of the published original
TEXT_DIM = 384
GOALS = {"p1": 0.45, "p3": 3.0, "p3_original": 50.0, "p4": 2.0, "p5": 1.2}
AT_LEAST = ("p1", "p3", "p3_original")
WHAT = {
    "p1": "arithmetic of a client update, of sgemm's speed",
    "p3": "client updates per CPU-second, times those one at a time",
    "p3_original": "the same, times the published original's",
    "p4": "a round of FedMem-Full, of one without memory and retriever",
    "p5": "a round at 100,000 items, of one at 3,000",
}

Advance = Callable[[str, int, int], None]


def simulate(
    ml100k: FederatedDataset | None, repetitions: int = 5, advance: Advance = lambda *_: None
) -> dict[str, Any]:
    """Measure everything; return one record. ``ml100k`` is None if it is absent."""
    dataset = generated_movielens() if ml100k is None else ml100k
    parts: list[Callable[[], dict[str, float]]] = [
        lambda: arithmetic(generated_dataset(CLIENTS, FEW_ITEMS), 2 * repetitions),
        lambda: against_one_at_a_time(dataset, repetitions),
        lambda: full_round(dataset, repetitions),
        lambda: catalogue(FEW_ITEMS, MANY_ITEMS, repetitions),
    ]
    record: dict[str, Any] = {}
    with one_thread():
        for done, part in enumerate(parts):
            advance("measuring", done, len(parts))
            record |= part()
    return record | {"data": dataset.name, "machine": machine()}


def generated_movielens() -> FederatedDataset:
    """Generate 943 users of 1,682 items with ML-100K's spread of activity."""
    return FederatedDataset.from_sequences(_sequences(943, 1682), 1682, name="users of ML-100K's size, generated")


def _sequences(users: int, items: int) -> list[list[int]]:
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(4.18, 0.93, users), 20, 737).astype(int)
    return [(rng.permutation(items)[:n] + 1).tolist() for n in lengths]


def server_of(
    config: ExperimentConfig,
    dataset: FederatedDataset,
    *,
    text: bool = True,
    scratch: Path | None = None,
) -> FedMemServer:
    """Make a server and its clients, with drawn text vectors or without text."""
    items, users = ItemFeatures(dataset.num_items), UserFeatures.empty(dataset.num_users)
    if text:
        rng = np.random.default_rng(0)
        drawn = rng.standard_normal((dataset.num_items, TEXT_DIM)).astype(np.float32)
        items = ItemFeatures(dataset.num_items, {Modality.TEXT: FrozenVectors.fitted(list(drawn))})
        preference = rng.standard_normal((dataset.num_users, TEXT_DIM)).astype(np.float32)
        users = UserFeatures(preference, np.ones(dataset.num_users, bool))
    model = build_model(config, dataset.num_items, items)
    population = SimulatedPopulation(config, dataset, items, users, model, scratch=scratch)
    return FedMemServer(config, dataset.trainable_users, population, initial_state(config, model, items))


def configured(**changes: Any) -> ExperimentConfig:
    """Return FedMem-Full, without validation, memories written from the first round on."""
    base: dict[str, Any] = {
        "fedmem": {"warmup_rounds": 0},
        "evaluation": {"eval_every": 1_000_000},
        "ablation": {"disable_moe": False},
    }
    return validate_config(merged(base, changes), "the benchmark")


def counted_gflop(config: ExperimentConfig, dataset: FederatedDataset, users: list[int], round_number: int) -> float:
    """Count the model's own arithmetic in these clients' updates of SASRec, as P1 counts it."""
    model, negatives = config.model, config.training.num_negatives
    dim, blocks = model.sasrec_hidden_dim, model.sasrec_num_blocks
    total = 0
    for user in users:
        for step in LocalSteps.of(config).draw(round_number, user, dataset.client(user)):
            for length in (step.items > 0).sum(1).tolist():
                total += length * (blocks * (12 * dim**2 + 4 * length * dim) + 2 * dim * (1 + negatives))
    return 3 * total / 1e9


def arithmetic(dataset: FederatedDataset, repetitions: int) -> dict[str, float]:
    """Measure P1."""
    config = p1_config(federated={"client_fraction": 1.0})
    server = server_of(config, dataset, text=False)
    users = dataset.trainable_users
    product = sgemm()
    sides = {
        "updates": lambda: list(server.population.train(users, server.distribute_model())),
        "sgemm": lambda: [product() for _ in range(10)],
    }
    seconds = interleaved(sides, repetitions)
    gflop = counted_gflop(config, dataset, users.tolist(), server.state.round)
    share = gflop / (10 * SGEMM_GFLOP) / ratio(seconds, "updates", "sgemm")
    return {
        "p1": share,
        "p1_updates_per_cpu_second": len(users) / float(np.median(seconds["updates"])),
        "p1_gflop_per_update": gflop / len(users),
        "sgemm_gflops": 10 * SGEMM_GFLOP / float(np.median(seconds["sgemm"])),
    }


def against_one_at_a_time(dataset: FederatedDataset, repetitions: int) -> dict[str, float]:
    """Measure P3."""
    together, alone = (server_of(config, dataset) for config in (configured(), configured(federated={"chunk_size": 1})))
    users = together.select_clients()
    for server in (together, alone):
        server.run_round()  # of the same users: fills their memories
    seconds = interleaved(
        {
            "together": lambda: list(together.population.train(users, together.distribute_model())),
            "alone": lambda: list(alone.population.train(users, alone.distribute_model())),
        },
        repetitions,
    )
    rate = len(users) / float(np.median(seconds["together"]))
    return {
        "p3": ratio(seconds, "alone", "together"),
        "p3_original": rate * ORIGINAL_SECONDS,
        "p3_updates_per_cpu_second": rate,
    }


def full_round(dataset: FederatedDataset, repetitions: int) -> dict[str, float]:
    """Measure P4."""
    full = server_of(configured(), dataset)
    plain = server_of(configured(ablation={"disable_moe": True}), dataset)
    list(full.population.train(dataset.trainable_users, full.distribute_model()))  # fills every user's memory
    seconds = interleaved({"full": full.run_round, "plain": plain.run_round}, 2 * repetitions)
    return {"p4": ratio(seconds, "full", "plain"), "p4_full_round_seconds": float(np.median(seconds["full"]))}


def catalogue(few: int, many: int, repetitions: int) -> dict[str, float]:
    """Measure P5."""
    sequences = _sequences(94, few)
    config = configured(training={"loss": "sampled_softmax"}, federated={"client_fraction": 1.0})
    servers = {
        name: server_of(config, FederatedDataset.from_sequences(sequences, items), text=False)
        for name, items in (("few", few), ("many", many))
    }
    seconds = interleaved({name: server.run_round for name, server in servers.items()}, 2 * repetitions)
    return {"p5": ratio(seconds, "many", "few"), "p5_round_seconds": float(np.median(seconds["many"]))}


def is_met(name: str, value: float) -> bool:
    """Say whether a figure reaches its goal."""
    return value >= GOALS[name] if name in AT_LEAST else value <= GOALS[name]


def find_movielens() -> Path | None:
    """Find ML-100K where ``fedmem data fetch`` or the tests put it."""
    root = Path(__file__).parent.parent
    places = (Path("data/ml-100k"), root / "data" / "ml-100k", root.parent / "shared" / "data" / "ml-100k")
    return next((place for place in places if place.exists()), None)
