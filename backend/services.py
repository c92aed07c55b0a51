"""What the routes use of the database: one object per application, made when it starts and closed when it ends."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from backend.eraser import Eraser
from backend.model_keeper import ModelKeeper
from backend.model_loader import ModelLoader
from backend.served_models import ServedModels
from backend.settings import Settings
from backend.telemetry import FeedbackMetrics, ModelMetrics
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.engine import connect
from fedmem.storage.erasures import ErasureStore
from fedmem.storage.jobs import JobStore
from fedmem.storage.metrics import MetricStore
from fedmem.storage.models import ModelStore


@dataclass(frozen=True, eq=False)
class Services:
    """The database's stores, and who keeps the models in service up to date with them."""

    engine: Engine
    jobs: JobStore
    metrics: MetricStore
    models: ModelStore
    catalogue: CatalogueStore
    keeper: ModelKeeper
    feedback_metrics: FeedbackMetrics

    @classmethod
    def start(cls, settings: Settings, served: ServedModels, registry: CollectorRegistry) -> "Services":
        """Connect at the first use, so that a missing database is a problem of a request and not of the start."""
        engine = connect(settings.database_url)
        jobs, models, catalogue = JobStore(engine), ModelStore(engine), CatalogueStore(engine)
        erasures, metrics = ErasureStore(engine), ModelMetrics.create(registry)
        loader = ModelLoader(jobs, catalogue, erasures, settings.data_dir, metrics)
        eraser = Eraser(erasures, catalogue, settings.data_dir)
        keeper = ModelKeeper(models, jobs, catalogue, loader, eraser, served, metrics)
        return cls(engine, jobs, MetricStore(engine), models, catalogue, keeper, FeedbackMetrics.create(registry))

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()
