"""The whole configuration of a job, of which its request says only what differs."""

from pathlib import Path

from fedmem.config import ExperimentConfig
from fedmem.config_reader import merged, validate_config, with_defaults_of
from fedmem.storage.catalogue_rows import DatasetRow
from fedmem.storage.job_rows import JobRow


def whole_config(said: ExperimentConfig, defaults: Path | None, parent: JobRow | None) -> ExperimentConfig:
    """Take what a job's configuration leaves out from the job that it continues, else from the installation's file.

    Args:
        said: what the request says.
        defaults: the installation's file, None where it has none.
        parent: the job that is continued, None for none.

    Raises:
        ConfigError: naming file or job, key and value, also where the two do not go together.
    """
    if parent is None:
        return with_defaults_of(defaults, said)
    name = f"the configuration of job {parent.id}"
    base = validate_config(parent.config, name).model_dump(mode="json")
    changes = said.model_dump(mode="json", exclude_unset=True)
    return validate_config(merged(base, changes), f"{name} with the new job's")


def default_config(defaults: Path | None, dataset: DatasetRow) -> ExperimentConfig:
    """Return the configuration of a job of a data set whose request says nothing.

    Raises:
        ConfigError: naming the installation's file, key and value.
    """
    config = with_defaults_of(defaults, ExperimentConfig())
    if config.data.says_repeats or dataset.repeats is None:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"repeats": dataset.repeats})})
