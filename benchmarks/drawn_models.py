"""Drawn models in a product's database and folder, as finished jobs that can be activated."""

import os
import shutil

import numpy as np

from benchmarks.drawn import checkpoint_of, snapshot_of
from benchmarks.product import Product
from fedmem.checkpoint import RunDirectory, RunRecord, Snapshot
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Interactions
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore, RoundResult

DATASET = "drawn"
MODELS = 5  # more than the backend keeps in memory: each activation reads one from disk


def store_models(made: Product, items: int, users: int) -> None:
    """Store drawn users and items, and finished jobs whose models can be activated; activate the first."""
    snapshot = snapshot_of(items, users)
    made.store(DATASET, interactions_of(snapshot.dataset), list(snapshot.dataset.items))
    folders = [made.data_dir / "jobs" / str(job) for job in range(1, MODELS + 1)]
    write_run(RunDirectory(folders[0]), snapshot)
    for folder in folders[1:]:
        shutil.copytree(folders[0], folder, copy_function=os.link)  # what is replaced is replaced by renaming
    engine = connect(made.database_url)
    last_id = CatalogueStore(engine).snapshot(DATASET).last_id
    for job in range(1, MODELS + 1):
        finish_job(JobStore(engine), snapshot, last_id, activate=job == 1)
    engine.dispose()


def interactions_of(dataset: FederatedDataset) -> Interactions:
    """Return a data set as rows."""
    users = np.repeat(np.array(dataset.vocabulary.users, object), dataset.lengths)
    items = np.array(dataset.vocabulary.items, object)[dataset.sequence - 1]
    return Interactions(users, items, np.arange(len(users), dtype=np.float64))


def write_run(directory: RunDirectory, snapshot: Snapshot) -> None:
    """Write a run of one round."""
    checkpoint = checkpoint_of(snapshot, round=1)
    directory.write_snapshot(snapshot)
    directory.write_checkpoint(checkpoint.server, [checkpoint.memories], [], RunRecord(1, 1, finished=True))


def finish_job(jobs: JobStore, snapshot: Snapshot, last_id: int, *, activate: bool) -> None:
    """Finish a job as a trainer would leave it."""
    jobs.create(kind="training", dataset=DATASET, config=snapshot.config.model_dump(mode="json"), num_rounds=1)
    claimed = jobs.claim("benchmark", 600, 3)
    assert claimed is not None, "it was just created"
    _, lease = claimed
    jobs.begin(lease, snapshot_digest=snapshot.dataset.digest, last_interaction_id=last_id)
    jobs.commit_round(lease, RoundResult(1, True, "000001", {}))
    jobs.finish(lease, "succeeded", model_round=1, activate=activate)


def version_of(job: int) -> str:
    """Name the model that a job has left."""
    return f"job-{job}-round-1"
