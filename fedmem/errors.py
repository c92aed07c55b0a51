"""The error tree. Every error a user can cause is one of these, and its message names the value and the remedy.

FedMemError
├── ConfigError        a configuration key or value (unknown key, value out of range, broken YAML)
├── DataError          an input file or the data in it (names file and line)
├── FeatureError       a required modality or model that cannot be had (says how to get it or do without)
├── TrainingError      training that cannot go on (the loss is no longer a number)
├── CheckpointError    a run directory that cannot be read, or does not fit what is asked of it
└── UnknownUserError   a user id that the data set does not hold

All are ``ValueError`` too, so that a caller who knows nothing of FedMem catches them as bad input.
The command line turns them into one line on stderr and exit code 2.
"""


class FedMemError(ValueError):
    """Root of every error that bad input can cause."""


class ConfigError(FedMemError):
    """A configuration key or value is not usable."""


class DataError(FedMemError):
    """An input file, or the data in it, is not usable."""


class FeatureError(FedMemError):
    """A required modality cannot be had."""


class TrainingError(FedMemError):
    """Training cannot go on."""


class CheckpointError(FedMemError):
    """A run directory cannot be read."""


class UnknownUserError(FedMemError):
    """The data set holds no such user."""
