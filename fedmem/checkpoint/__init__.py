"""A run on disk: what it starts from, and its states after rounds."""

from fedmem.checkpoint.records import memory_entries, report_line
from fedmem.checkpoint.run_directory import Checkpoint, RunDirectory, RunRecord, Snapshot

__all__ = ["Checkpoint", "RunDirectory", "RunRecord", "Snapshot", "memory_entries", "report_line"]
