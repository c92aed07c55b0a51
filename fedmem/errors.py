"""The error tree. Every error a user can cause is one of these, and its message names the value and the remedy.

FedMemError
├── ConfigError        a configuration key or value (unknown key, value out of range, broken YAML)
├── DataError          an input file or the data in it (names file and line)
│   └── MissingIdError       there is no id where one is expected
├── FeatureError       a required modality or model that cannot be had (says how to get it or do without)
├── TrainingError      training that cannot go on (the loss is no longer a number)
│   └── NodesAwayError       machines that clients train on are away: the job waits for who brings them back
├── CheckpointError    a run directory that cannot be read, or does not fit what is asked of it
│   └── DiskFullError        one that cannot be written for want of room, and can be once there is some
├── BucketError        a bucket that cannot be reached or used, or whose file is damaged
├── StorageError       a database that cannot be reached, written, or is not at this version's schema
├── UnknownError       something that was asked for by name and is not there
│   ├── UnknownUserError     a user id that the data set does not hold
│   ├── UnknownItemError     an item id that the catalogue does not hold
│   ├── UnknownDatasetError  a data set that was not imported
│   ├── UnknownJobError      a job that there is not
│   ├── UnknownModelError    a model version that there is not
│   ├── UnknownScheduleError a schedule that there is not
│   └── UnknownTestError     an A/B test that there is not
├── TooMuchError       a user or caller who has had what may be had in a time
└── ConflictError      a request that does not fit the present state (says which state, and what can be done)
    └── LeaseLostError       a trainer whose job another one has taken over

All are ``ValueError`` too, so that a caller who knows nothing of FedMem catches them as bad input.
The command line turns them into one line on stderr and exit code 2.
"""

import errno

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
OUT_OF_MEMORY = (
    "the machine's memory does not suffice: lower federated.chunk_size, data.max_history, workers or the model's sizes"
)


class FedMemError(ValueError):
    """Root of every error that bad input can cause."""


class ConfigError(FedMemError):
    """A configuration key or value is not usable."""


class DataError(FedMemError):
    """An input file, or the data in it, is not usable."""


class MissingIdError(DataError):
    """There is no user or item id where one is expected."""


class FeatureError(FedMemError):
    """A required modality cannot be had."""


class TrainingError(FedMemError):
    """Training cannot go on."""


class NodesAwayError(TrainingError):
    """A machine that clients train on is lost, or too few nodes of other owners were there for too long."""


class CheckpointError(FedMemError):
    """A run directory cannot be read."""


class DiskFullError(CheckpointError):
    """A run directory cannot be written until there is room on its disk."""


class BucketError(FedMemError):
    """The bucket of the jobs' files cannot be used."""


class StorageError(FedMemError):
    """The database cannot be used."""


class UnknownError(FedMemError):
    """Something asked for by name is not there."""


class UnknownUserError(UnknownError):
    """The data set holds no such user."""


class UnknownItemError(UnknownError):
    """The catalogue holds no such item."""


class UnknownDatasetError(UnknownError):
    """No such data set was imported."""


class UnknownJobError(UnknownError):
    """There is no such job."""


class UnknownModelError(UnknownError):
    """There is no such model version."""


class UnknownScheduleError(UnknownError):
    """There is no such schedule."""


class UnknownTestError(UnknownError):
    """There is no such A/B test."""


class TooMuchError(FedMemError):
    """What may be had in a time is used up."""


class ConflictError(FedMemError):
    """A request does not fit the present state."""


class LeaseLostError(ConflictError):
    """Another trainer has taken the job over, so this one may write nothing."""


def disk_error(error: OSError, message: str) -> CheckpointError:
    """Make the error of a file that the system refuses: a ``DiskFullError`` if it does so for want of room."""
    return DiskFullError(message) if error.errno in NO_ROOM else CheckpointError(message)
