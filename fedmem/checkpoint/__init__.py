"""A run on disk: what it starts from, and its states after rounds."""

from fedmem.checkpoint.checkpoints import Checkpoint
from fedmem.checkpoint.checks import check_fits
from fedmem.checkpoint.recording import DirectoryRecorder, Recorder, RememberingClients
from fedmem.checkpoint.records import report_line
from fedmem.checkpoint.run_directory import RunDirectory, RunRecord, Snapshot

__all__ = [
    "Checkpoint",
    "DirectoryRecorder",
    "Recorder",
    "RememberingClients",
    "RunDirectory",
    "RunRecord",
    "Snapshot",
    "check_fits",
    "report_line",
]
