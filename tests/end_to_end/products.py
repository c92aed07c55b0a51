"""A database and a data folder with tiny data, real processes on them, and what a finished job comes to."""

import hashlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, select, update

import migrations
from fedmem.checkpoint import RunDirectory
from fedmem.checkpoint.records import server_arrays
from fedmem.config_reader import merged
from fedmem.storage import schema
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns, ItemRow
from fedmem.storage.engine import connect, reading, writing
from fedmem.storage.jobs import JobRow, JobStore
from tests.databases import migrated_bytes
from tests.forks import Forked
from tests.tiny import ITEMS, tiny_config, walks
from trainer.control import Shutdown
from trainer.settings import Settings
from trainer.worker import Worker

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 8
CONFIG: dict[str, Any] = {
    "save_interval": 3,
    "features": {"text": "off", "image": "off"},
    "federated": {"num_rounds": ROUNDS, "patience": 100},
    "transitions": {"short_histories": []},  # of so few users others than the general weight come and go
}


@dataclass(frozen=True)
class Product:
    """One database and one data folder, and the environment that points services at them."""

    url: str
    data_dir: Path
    lease_seconds: float = 60.0  # a busy machine costs no trainer its lease
    bucket: str = ""

    @classmethod
    def made(cls, folder: Path, url: str | None = None, **settings: Any) -> "Product":
        """Migrated, with the data set ``tiny``."""
        file = folder / "fedmem.db"
        product = cls(url or f"sqlite:///{file}", folder / "data", **settings)
        if url is None:
            folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(migrated_bytes())
        else:
            migrations.upgrade(url)
        product.write("tiny", "m", "Film")
        return product

    def write(self, dataset: str, letter: str, kind: str) -> None:
        """Store a data set of the same walks; its items are told apart by a letter, and by what they are."""
        sequences = walks(12, ITEMS)
        users = [f"u{user:02d}" for user, sequence in enumerate(sequences) for _ in sequence]
        items = [f"{letter}{item:02d}" for sequence in sequences for item in sequence]
        times = [float(time) for sequence in sequences for time in range(len(sequence))]
        catalogue = [ItemRow(f"{letter}{item:02d}", title=f"{kind} {item}") for item in range(1, ITEMS + 1)]
        CatalogueStore(self.engine).write(dataset, "the test", InteractionColumns(users, items, times), catalogue)

    @cached_property
    def engine(self) -> Engine:
        return connect(self.url)

    @property
    def jobs(self) -> JobStore:
        return JobStore(self.engine)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "DATABASE_URL": self.url,
            "FEDMEM_DATA_DIR": str(self.data_dir),
            "FEDMEM_BUCKET": self.bucket,
            "FEDMEM_LEASE_SECONDS": str(self.lease_seconds),
            "FEDMEM_POLL_SECONDS": "0.05",
            "FEDMEM_TRAINER_NICE": "0",  # or it would wait for as long as others keep the machine busy
            "FEDMEM_MAX_ATTEMPTS": "50",
            "FEDMEM_KEEP_EVERY": "4",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",  # some tests import torch before the trainer's own main
        }

    def queue(self, changes: Mapping[str, Any] | None = None, **job: Any) -> JobRow:
        """A training job, on the tiny data unless told otherwise."""
        config = tiny_config(**merged(CONFIG, changes or {}))
        row, _ = self.jobs.create(
            kind=job.pop("kind", "training"),
            dataset=job.pop("dataset", "tiny"),
            config=config.model_dump(mode="json"),
            num_rounds=config.federated.num_rounds,
            **job,
        )
        return row

    def start(self, *command: str) -> Forked:
        """A process of the product: ``start("-m", "trainer")``."""
        return Forked(
            [sys.executable, *command],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def let_lease_end(self, job_id: int) -> None:
        """Let the time be over that a trainer had for its next heartbeat: it is dead."""
        with writing(self.engine) as connection:
            connection.execute(update(schema.jobs).where(schema.jobs.c.id == job_id).values(lease_expires_at=0.0))

    def train(self) -> str:
        """Train what is queued to its end by a trainer in this process, which starts in no time; what it logs."""
        with pytest.MonkeyPatch.context() as patch, logged() as output:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            worker = Worker(Settings.load(), Shutdown())
            worker.run(until_idle=True)
        worker.stores.jobs.engine.dispose()
        return output.getvalue()

    def directory(self, job_id: int) -> RunDirectory:
        return RunDirectory(self.data_dir / "jobs" / str(job_id))

    def outcome(self, job_id: int) -> dict[str, Any]:
        """What a job came to: digests of its weights and memories, last and best, of its metrics and prototypes."""
        job = self.jobs.get(job_id)
        checkpoints = {n: self.directory(job_id).checkpoints.read(n) for n in {job.round, job.best_round} if n}
        weights = {n: digest(server_arrays(c.server)) for n, c in checkpoints.items()}
        memories = {
            n: digest({f"{user}/{name}": a for user, m in c.memories.items() for name, a in vars(m).items()})
            for n, c in checkpoints.items()
        }
        return {
            "state": job.state,
            "round": job.round,
            "best_round": job.best_round,
            "weights": weights,
            "memories": memories,
            "rows": self.rows(job_id),
        }

    def rows(self, job_id: int) -> dict[str, list[tuple[Any, ...]]]:
        """The job's rows, without what differs from run to run: times, tokens, seconds and megabytes."""
        m, r, p, v = schema.metrics, schema.rounds, schema.prototypes, schema.models
        queries = {
            "metrics": select(m.c.round, m.c.split, m.c.name, m.c.value).where(
                m.c.job_id == job_id, m.c.split != "system"
            ),
            "rounds": select(r.c.round, r.c.is_best, r.c.checkpoint).where(r.c.job_id == job_id),
            "prototypes": select(p.c.round, p.c.arrays).where(p.c.job_id == job_id),
            "models": select(v.c.version, v.c.round).where(v.c.job_id == job_id),
        }
        with reading(self.engine) as connection:
            return {name: sorted(tuple(row) for row in connection.execute(query)) for name, query in queries.items()}

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Every file of the data folder with its time of change and its content."""
        files = [path for path in self.data_dir.rglob("*") if path.is_file()]
        return {str(p.relative_to(self.data_dir)): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """What is logged meanwhile, from the level on that ``python -m trainer`` sets."""
    output, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(output), root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield output
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over arrays by name."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {arrays[name].shape} ".encode())
        found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()
