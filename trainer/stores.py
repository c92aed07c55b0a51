"""The database, as the trainer uses it."""

from dataclasses import dataclass

from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.erasures import ErasureStore
from fedmem.storage.jobs import JobStore
from fedmem.storage.metrics import MetricStore
from fedmem.storage.models import ModelStore


@dataclass(frozen=True)
class Stores:
    """The database, by what is kept in it."""

    jobs: JobStore
    metrics: MetricStore
    catalogue: CatalogueStore
    erasures: ErasureStore
    models: ModelStore
