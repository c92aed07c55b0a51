"""Stands in for the trainer: claims jobs and commits rounds through the store as the trainer does, but trains none."""

import math
import random
import time
from pathlib import Path

import migrations
from fedmem.config_reader import merged, validate_config
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns, ItemRow
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobRow, JobStore, Lease, RoundResult, StoredPrototypes
from tests.dashboard.example_rounds import NUM_PROTOTYPES, Curves

LEASE = 3600.0


class PretendedTrainer:
    """Works on one database; its clock may be set, so that rounds lie minutes apart."""

    def __init__(self, url: str) -> None:
        self.now: float | None = None
        self.jobs = JobStore(connect(url), clock=lambda: time.time() if self.now is None else self.now)

    def queue(self, dataset: str = "demo", kind: str = "training", **settings: object) -> JobRow:
        """A job of all parts; settings by section: ``federated={"num_rounds": 30}``."""
        config = validate_config(merged({"ablation": {"disable_moe": False}}, settings), "the test")
        job, _ = self.jobs.create(
            kind=kind,
            dataset=dataset,
            config=config.model_dump(mode="json"),
            num_rounds=config.federated.num_rounds,
        )
        return job

    def claim(self) -> Lease:
        """The oldest job that waits."""
        claimed = self.jobs.claim("pretended-1", LEASE, 3)
        assert claimed is not None, "no job waits"
        job, lease = claimed
        self.jobs.seen("pretended-1", job.id)
        self.jobs.begin(lease, snapshot_digest="5f" * 32, last_interaction_id=1)
        return lease

    def train(self, lease: Lease, last: int, curves: Curves, *, seconds: float | None = None) -> None:
        """Rounds up to ``last``; with ``seconds`` they are that far apart by the clock, up to now."""
        job = self.jobs.get(lease.job_id)
        start = time.time()
        numbers = range(job.round + 1 if job.round or job.best_round else 0, last + 1)
        for number in numbers:
            if seconds is not None:
                self.now = start - seconds * (last - number)
            self.jobs.commit_round(lease, self._result(lease, number, curves))
        self.now = None

    def _result(self, lease: Lease, number: int, curves: Curves) -> RoundResult:
        metrics = curves.metrics(number)
        best = self._is_best(lease, metrics, curves)
        evaluated = number > 0 and "validation" in metrics and curves.memory
        prototypes = StoredPrototypes(b"", describe_prototypes(number)) if evaluated else None
        return RoundResult(number, best, f"{number:06d}", metrics, prototypes)

    def _is_best(self, lease: Lease, metrics: dict, curves: Curves) -> bool:
        reached = metrics.get("validation", {}).get("HR@10")
        best_round = self.jobs.get(lease.job_id).best_round
        return reached is not None and (
            best_round is None or reached > curves.metrics(best_round)["validation"]["HR@10"]
        )

    def finish(self, lease: Lease, curves: Curves, *, activate: bool = True) -> None:
        """Succeed with the best model tested."""
        job = self.jobs.get(lease.job_id)
        assert job.best_round is not None
        test = curves.ranking(job.best_round, random.Random(f"test-{curves.seed}"))
        self.jobs.finish(
            lease,
            "succeeded",
            message=f"all {job.round} rounds are done",
            test=test,
            test_round=job.best_round,
            model_round=job.best_round,
            activate=activate,
        )


def describe_prototypes(number: int) -> list[dict[str, object]]:
    """Prototypes on their way over the map."""
    made = []
    for k in range(NUM_PROTOTYPES):
        angle = 2 * math.pi * k / NUM_PROTOTYPES
        radius = 0.25 * (1 - math.exp(-number / 40))
        made.append(
            {
                "index": k,
                "mass": (k + 1) / 15,
                "drift": None if number <= 10 else 0.05 * math.exp(-number / 20),
                "x": radius * math.cos(angle + number / 200),
                "y": radius * math.sin(angle + number / 200),
                "nearest": [[1 + 40 * k + n, 0.9 - 0.03 * n] for n in range(8)],
            }
        )
    return made


def migrated(path: Path) -> str:
    """The URL of a new SQLite database at head."""
    url = f"sqlite:///{path}"
    migrations.upgrade(url)
    return url


def import_catalogue(url: str, folder: Path, name: str = "demo") -> None:
    """The demo catalogue as ``fedmem data demo`` writes it."""
    import pandas as pd

    items = pd.read_csv(folder / "items.csv", dtype={"item_id": str})
    rows = [
        ItemRow(
            item_id=str(item.item_id),
            title=item.title,
            genres=tuple(str(item.genres).split("|")),
            year=int(item.year),
            image_path=str(folder / "covers" / f"{item.item_id}.jpg"),
            text=item.text,
        )
        for item in items.itertuples()
    ]
    taken = pd.read_csv(folder / "interactions.csv", dtype={"user_id": str, "item_id": str})
    columns = InteractionColumns(
        taken.user_id.tolist(), taken.item_id.tolist(), taken.timestamp.to_numpy(dtype="float64")
    )
    CatalogueStore(connect(url)).write(name, str(folder), columns, rows)
