"""The settings of every service that shares the database and the checkpoints."""

from pathlib import Path

from pydantic import Field, PositiveInt

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
    job_memory_mib: PositiveInt | None = Field(
        None,
        description="The most memory that one training job may take, in MiB; unset, all of the machine's. A job that "
        "is estimated to take more is refused; one that comes to take more fails, and the trainer goes on with others.",
    )

    job_config: Path | None = Field(
        None,
        description="A YAML configuration from which jobs take what their own does not say; unset, FedMem's defaults.",
    )

    @property
    def job_memory(self) -> int | None:
        """The same in bytes."""
        return None if self.job_memory_mib is None else self.job_memory_mib * 2**20
