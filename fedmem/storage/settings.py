"""The settings of every service that shares the database and the checkpoints."""

from pathlib import Path

from pydantic import Field

from fedmem.service_settings import ServiceSettings
from fedmem.storage.engine import DEFAULT_URL


class StorageSettings(ServiceSettings):
    """Where the database and the checkpoints are."""

    database_url: str = Field(
        DEFAULT_URL,
        validation_alias="DATABASE_URL",
        repr=False,  # it may hold a password
        description="The database of all services: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.",
    )
    data_dir: Path = Field(Path("runs/service"), description="The folder that trainers write checkpoints to.")
