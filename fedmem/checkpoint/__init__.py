"""A run on disk: what it starts from, and its states after rounds."""

from fedmem.checkpoint.records import report_line
from fedmem.checkpoint.run_directory import Checkpoint, RunDirectory, RunRecord, Snapshot

__all__ = ["Checkpoint", "RunDirectory", "RunRecord", "Snapshot", "report_line"]
