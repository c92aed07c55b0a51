"""What the routes use of the database: one object per application, made when it starts and closed when it ends."""

from contextlib import suppress
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from backend.eraser import Eraser
from backend.failures import Failures
from backend.impressions import Impressions
from backend.model_changes import ModelChanges
from backend.model_keeper import ModelKeeper
from backend.model_loader import ModelLoader
from backend.model_trials import ModelTrials
from backend.online import OnlineMetrics
from backend.operation_metrics import OperationMetrics
from backend.served_models import ServedModels
from backend.settings import Settings
from backend.telemetry import FeedbackMetrics, ModelMetrics
from fedmem.bucket import Runs
from fedmem.errors import StorageError
from fedmem.importing.uploads import Uploads
from fedmem.serving import erase_users, known_users
from fedmem.storage.ab_tests import AbTestStore
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.engine import connect
from fedmem.storage.erasures import ErasureStore
from fedmem.storage.followed_deletions import FollowedDeletions
from fedmem.storage.followed_runs import FollowedRuns
from fedmem.storage.impressions import HOUR, ImpressionStore
from fedmem.storage.job_overview import overview
from fedmem.storage.job_removal import JobRemoval
from fedmem.storage.jobs import JobStore
from fedmem.storage.metrics import MetricStore
from fedmem.storage.models import ModelStore
from fedmem.storage.schedules import ScheduleStore
from fedmem.storage.spendings import ALIVE, SpendingStore


@dataclass(frozen=True, eq=False)
class Services:
    """The database's stores, and who keeps the models in service up to date with them."""

    engine: Engine
    jobs: JobStore
    metrics: MetricStore
    models: ModelStore
    schedules: ScheduleStore
    catalogue: CatalogueStore
    keeper: ModelKeeper
    served: ServedModels
    impressions: Impressions
    feedback_metrics: FeedbackMetrics
    online_metrics: OnlineMetrics
    operation_metrics: OperationMetrics
    uploads: Uploads
    spendings: SpendingStore
    runs: Runs
    removal: JobRemoval

    @classmethod
    def start(cls, settings: Settings, served: ServedModels, registry: CollectorRegistry) -> "Services":
        """Connect at the first use, so that a missing database is a problem of a request and not of the start."""
        engine, window = connect(settings.database_url), settings.attribution_hours * HOUR
        jobs, models, catalogue = JobStore(engine), ModelStore(engine), CatalogueStore(engine, window=window)
        erasures, metrics = ErasureStore(engine), ModelMetrics.create(registry)
        runs = settings.runs()
        removal = JobRemoval(engine, runs)
        loader = ModelLoader(jobs, catalogue, erasures, runs, metrics)
        uploads = Uploads(settings.data_dir / "uploads", settings.database_url)
        deletions = FollowedDeletions(engine, settings.data_dir / ".deletions-backend", uploads.remove_all)
        eraser = Eraser(erasures, catalogue, runs)
        followed = FollowedRuns(engine, removal, deletions, known_users, erase_users)
        changes = ModelChanges(catalogue, loader, eraser, followed, served, troubles := Failures())
        trials = ModelTrials(AbTestStore(engine, window=window), models, served, changes, troubles)
        keeper = ModelKeeper(models, trials, jobs, loader, served, changes, metrics, troubles)
        return cls(
            engine,
            jobs,
            MetricStore(engine),
            models,
            ScheduleStore(engine),
            catalogue,
            keeper,
            served,
            Impressions.create(ImpressionStore(engine, window), settings, registry),
            FeedbackMetrics.create(registry),
            OnlineMetrics.create(registry),
            OperationMetrics(registry),
            uploads,
            SpendingStore(engine, alive=max(ALIVE, 3 * settings.refresh_seconds)),
            runs,
            removal,
        )

    def note(self) -> None:
        """Store the answers that were noted; now and then delete old ones, and evaluate the others for Prometheus.

        What goes wrong with one of these keeps no other waiting; it is in the keeper's ``troubles``.
        """
        apart = self.keeper.troubles.apart
        with apart("the noting of answers"):
            self.impressions.flush()
        if self.operation_metrics.due:
            with apart("the counting of jobs and models"):
                self.operation_metrics.show(overview(self.engine), self.models.all_active())
        if self.impressions.due:
            with apart("the removal of old answers"):
                self.impressions.tidy()
            with apart("the removal of uploads"):
                self.uploads.tidy()
            with apart("the clearing away of imports that were cut off"):
                self.catalogue.clear()
            with apart("the evaluation of answers"):
                self.online_metrics.show([self.impressions.evaluate(dataset) for dataset in self.served.in_service])

    def close(self) -> None:
        """Store what was noted last, if it can be, and give the connections back."""
        with suppress(StorageError):
            self.impressions.flush()
            self.spendings.leave()
        self.engine.dispose()
