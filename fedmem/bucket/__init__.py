"""Run folders in a bucket too, so that another machine serves them, or goes on where one was lost."""

from fedmem.bucket.manifest import erasers_epoch, trainers_epoch
from fedmem.bucket.runs import Runs
from fedmem.bucket.store import Bucket, checked_url

__all__ = ["Bucket", "Runs", "checked_url", "erasers_epoch", "trainers_epoch"]
