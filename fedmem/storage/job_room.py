"""Whether a trainer's machine has room for a job, before the job is queued and again before it begins."""

import shutil
from pathlib import Path

from fedmem.config import ExperimentConfig
from fedmem.errors import ConfigError, ConflictError
from fedmem.footprint import DataSize, Footprint, shown
from fedmem.process_memory import machine_memory
from fedmem.storage.catalogue_rows import DatasetRow


def require_room(config: ExperimentConfig, dataset: DatasetRow, data_dir: Path, memory: int | None) -> Footprint:
    """Return what a job is estimated to take.

    Args:
        config: the job's.
        dataset: what it trains on.
        data_dir: where its checkpoints are put.
        memory: the most that a job may take, in bytes; None for all of this machine's.

    Raises:
        ConfigError: if it takes more memory than that.
        ConflictError: if it takes more disk than is free now.
    """
    needed = require_memory(config, dataset, memory)
    folder = next(path for path in (data_dir.absolute(), *data_dir.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if needed.disk > free:
        raise ConflictError(
            f"the job is estimated to need {shown(needed.disk)} of disk, and {folder} has {shown(free)} free: make "
            "room, or lower save_interval, model.sasrec_hidden_dim or model.sasrec_num_blocks"
        )
    return needed


def require_memory(config: ExperimentConfig, dataset: DatasetRow, memory: int | None) -> Footprint:
    """Return what a job is estimated to take, or raise ConfigError as ``require_room``."""
    needed = Footprint.of(config, DataSize(dataset.users, dataset.items, dataset.interactions))
    there = machine_memory() if memory is None else memory
    if needed.memory > there:
        raise ConfigError(
            f"the job is estimated to need {shown(needed.memory)} of memory, and there are {shown(there)}: lower "
            "model.sasrec_hidden_dim, model.sasrec_num_blocks, federated.chunk_size, data.max_history or workers"
        )
    return needed
