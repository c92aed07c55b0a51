"""What the routes use: one object per application, made when it starts and closed when it ends."""

from dataclasses import dataclass

from sqlalchemy import Engine

from backend.settings import Settings
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore
from fedmem.storage.metrics import MetricStore


@dataclass(frozen=True, eq=False)
class Services:
    """The database's stores and the settings."""

    settings: Settings
    engine: Engine
    jobs: JobStore
    metrics: MetricStore

    @classmethod
    def start(cls, settings: Settings) -> "Services":
        """Connects at the first use, so that a database that is away is a problem of a request and not of the start."""
        engine = connect(settings.database_url)
        return cls(settings, engine, JobStore(engine), MetricStore(engine))

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()
