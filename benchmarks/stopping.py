"""How long a job goes on after it was stopped: seconds, and the trainer's CPU seconds, to the end of the job.

    python -m benchmarks.stopping --data data/ml-100k

A trainer process trains jobs whose settings put as much as they can between two looks whether to go on. Each is
stopped some seconds after its first round has begun, one while it still prepares, and one while it loads its text
encoder. The CPU seconds are what a busy machine does not change much; the seconds on the clock are what the caller
waits on this machine as it was, where the trainer does not step back behind other work.
"""

import time
from pathlib import Path
from typing import Any

from benchmarks.measure import keeping_parser, machine, tell
from benchmarks.product import BenchmarkError, Product, Service, product
from fedmem.config_reader import validate_config
from fedmem.data.formats import read_dataset
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore

NAME = "data"
AT_ONCE: dict[str, Any] = {"chunk_size": 10_000, "client_fraction": 1.0}
ENDLESS = {"training": {"batch_size": 1}, "federated": AT_ONCE | {"local_epochs": 10_000}}
CASES: dict[str, dict[str, Any]] = {
    "10,000 epochs in batches of one, all clients in one chunk": ENDLESS,
    "the same in two worker processes": ENDLESS | {"workers": 2},
    "all clients in one chunk, one step each": {"federated": AT_ONCE},
    "hidden size 512, 4 blocks, contexts of 500": {
        "model": {"sasrec_hidden_dim": 512, "sasrec_num_blocks": 4, "max_seq_len": 500},
        "federated": AT_ONCE,
    },
}
AFTER = 3.0  # seconds after the first round has begun


class Stopping:
    """Stops jobs of one product's trainer."""

    def __init__(self, made: Product, trainer: Service) -> None:
        self.made, self.trainer = made, trainer
        self.jobs = JobStore(connect(made.database_url))

    def measure(self, changes: dict[str, Any], after: float | None) -> tuple[float, float]:
        """Queue a job, and stop it ``after`` seconds of its first round, or while it prepares: seconds, CPU seconds."""
        job = self._begun(changes)
        if after is not None:
            folder = self.made.data_dir / "jobs" / str(job)
            self.made.wait(lambda: list(folder.glob(".scratch-*")), "the first round")
            time.sleep(after)
        return self._stop(job)

    def measure_encoder(self) -> tuple[float, float]:
        """Stop a job that is about to load the encoder, which no job of this trainer has done: seconds, CPU seconds."""
        job = self._begun({})
        self.made.wait(
            lambda: any("item texts: 0 of" in row.message for row in self.jobs.logs(job)), "texts", every=0.01
        )
        return self._stop(job)

    def _begun(self, changes: dict[str, Any]) -> int:
        config = validate_config({"features": {"image": "off"}} | changes, "the benchmark")
        job, _ = self.jobs.create(
            kind="experiment",
            dataset=NAME,
            config=config.model_dump(mode="json"),
            num_rounds=config.federated.num_rounds,
        )
        self.made.wait(lambda: self.jobs.get(job.id).state == "running", "the job's begin")
        return job.id

    def _stop(self, number: int) -> tuple[float, float]:
        began, cpu = time.monotonic(), self.trainer.cpu_seconds()
        self.jobs.stop(number)
        self.made.wait(lambda: self.jobs.get(number).state not in ("queued", "running"), "the job's end", every=0.01)
        if (job := self.jobs.get(number)).state != "stopped":
            raise BenchmarkError(f"job {number} was to be stopped, and is {job.state}: {job.message}")
        return round(time.monotonic() - began, 2), round(self.trainer.cpu_seconds() - cpu, 2)


def stopping(data: Path) -> dict[str, Any]:
    """Measure everything; return one record."""
    with product() as made:
        interactions, items = read_dataset(data)
        made.store(NAME, interactions.without_duplicates(), items)
        empty = str(made.folder / "cache")
        measured = Stopping(made, made.start("trainer", FEDMEM_TRAINER_NICE="0", FEDMEM_CACHE_DIR=empty))
        encoder = measured.measure_encoder()
        found = {name: measured.measure(changes, AFTER) for name, changes in CASES.items()}
        found["while it prepares"] = measured.measure(ENDLESS, None)
        found["while it loads its text encoder"] = encoder
    return {
        "data": data.name,
        "seconds_to_the_end": {name: seconds for name, (seconds, _) in found.items()},
        "cpu_seconds_to_the_end": {name: cpu for name, (_, cpu) in found.items()},
        "machine": machine(),
    }


def main() -> None:
    """Print the record as JSON."""
    parser = keeping_parser("stopping", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="the data set, such as MovieLens 100K's folder")
    asked = parser.parse_args()
    tell("stopping", stopping(asked.data), asked.keep)


if __name__ == "__main__":
    main()
