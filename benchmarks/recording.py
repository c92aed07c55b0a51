"""P8: a round with its checkpoint and metrics written, as a trainer does it, over the same round without.

Two runs of FedMem-Full on ML-100K take turns, ten rounds at a time with their validation; what is still being written
when a turn ends is waited for. Wall time, because most of writing is waiting for the disk.

    python -m benchmarks.recording [--data PATH] [--keep]
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import migrations
from benchmarks.measure import keeping_parser, machine, tell
from benchmarks.simulate import find_movielens, generated_movielens
from fedmem.checkpoint import RememberingClients, RunDirectory, RunRecord, Snapshot
from fedmem.config_reader import validate_config
from fedmem.data.formats import load_dataset
from fedmem.evaluation.metric_table import MetricTable
from fedmem.experiment import TrainingRun
from fedmem.features.inference import one_thread
from fedmem.federated.state import RoundReport, ServerState
from fedmem.snapshot import take_snapshot
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns, ItemRow
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore
from trainer.control import Control, Shutdown
from trainer.job_recorder import JobRecorder

TURNS, ROUNDS = 8, 10
GOAL = 1.02


class NoRecorder:
    """Puts nothing down."""

    record = RunRecord(last=0, best=0)

    def begin(self) -> None: ...
    def put(self, report: RoundReport, state: ServerState, clients: RememberingClients) -> None: ...
    def flush(self, state: ServerState, clients: RememberingClients) -> None: ...
    def finish(self, test: MetricTable, without_transitions: MetricTable | None = None) -> None: ...


def measure(data: Path | None) -> dict[str, object]:
    """Return the ratio of the medians, and the seconds of each turn."""
    dataset = generated_movielens() if data is None else load_dataset(data)
    config = validate_config({"federated": {"patience": 1000}, "ablation": {"disable_moe": False}}, "the benchmark")
    snapshot = take_snapshot(config, dataset)
    with (
        tempfile.TemporaryDirectory() as folder,
        one_thread(),
        closing(recorded(Path(folder), snapshot)) as with_writing,
        closing(unrecorded(Path(folder), snapshot)) as without,
    ):
        seconds = take_turns({"with": with_writing, "without": without})
    found = statistics.median(seconds["with"]) / statistics.median(seconds["without"])
    return {"p8": found, "goal": GOAL, "seconds": seconds, "data": dataset.name, "machine": machine()}


def take_turns(runs: dict[str, TrainingRun]) -> dict[str, list[float]]:
    """Measure wall seconds of ten rounds, turn by turn; the first turn of each warms up and is left out."""
    rounds: dict[str, Iterator[RoundReport]] = {name: run.rounds() for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(TURNS + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            for _ in itertools.islice(rounds[name], ROUNDS):
                pass
            run.recorder.flush(run.server.state, run.population)
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def unrecorded(folder: Path, snapshot: Snapshot) -> TrainingRun:
    """Make a run that is not recorded."""
    return TrainingRun(RunDirectory(folder / "without"), snapshot, recorder=NoRecorder())


def recorded(folder: Path, snapshot: Snapshot) -> TrainingRun:
    """Make a run that is recorded as a trainer's job."""
    url = f"sqlite:///{folder / 'fedmem.db'}"
    migrations.upgrade(url)
    CatalogueStore(connect(url)).write("one", "here", InteractionColumns(["u"], ["i"], [0.0]), [ItemRow("i")])
    jobs = JobStore(connect(url))
    config = snapshot.config.model_dump(mode="json")
    jobs.create(kind="training", dataset="one", config=config, num_rounds=snapshot.config.federated.num_rounds)
    claimed = jobs.claim("the benchmark", lease_seconds=1e6, max_attempts=1)
    assert claimed is not None
    job, lease = claimed
    directory = RunDirectory(folder / "with")
    recorder = JobRecorder(
        jobs,
        job,
        lease,
        Control(jobs, lease, 1e6, Shutdown(), time.monotonic()),
        directory,
        snapshot,
        keep_every=100,
        before=None,
        publish=lambda: None,
        committed=lambda report: None,
    )
    return TrainingRun(directory, snapshot, recorder=recorder)


def main() -> None:
    """Measure and print."""
    parser = keeping_parser("recording", __doc__)
    parser.add_argument("--data", type=Path, help="ML-100K; found by itself, or generated")
    asked = parser.parse_args()
    tell("recording", measure(asked.data or find_movielens()), asked.keep)


if __name__ == "__main__":
    main()
