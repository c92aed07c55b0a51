"""The settings of every service that shares the database and the checkpoints."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, PositiveInt

from fedmem.bucket import Runs, checked_url
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
    bucket: Annotated[str, AfterValidator(checked_url)] | None = Field(
        None,
        repr=False,  # it may hold a password, which is refused
        description="A folder of a bucket into which trainers publish what they write to FEDMEM_DATA_DIR, so that each "
        "machine may have a data folder of its own: s3://BUCKET/FOLDER, with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
        "AWS_DEFAULT_REGION and, for another server than Amazon's, AWS_ENDPOINT_URL; needs the extra `bucket`.",
    )
    job_memory_mib: PositiveInt | None = Field(
        None,
        description="The most memory that one training job may take, in MiB; unset, all of the machine's. A job that "
        "is estimated to take more is refused; one that comes to take more fails, and the trainer goes on with others.",
    )

    job_config: Path | None = Field(
        None,
        description="A YAML configuration from which jobs take what their own does not say; unset, FedMem's defaults.",
    )

    def runs(self, data_dir: Path | None = None) -> Runs:
        """Return the jobs' folders, those of another data folder where one is given.

        Raises:
            ConfigError: if what reads the bucket is not installed.
        """
        return Runs.at(data_dir or self.data_dir, self.bucket)

    @property
    def job_memory(self) -> int | None:
        """The same in bytes."""
        return None if self.job_memory_mib is None else self.job_memory_mib * 2**20
