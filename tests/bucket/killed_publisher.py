"""``python killed_publisher.py URL FOLDER N``: publishes job 7 of a data folder, and kills itself before its N-th step.

A step is a request that changes the bucket: a file that is put there, the manifest, a removal. SIGKILL cannot be
caught, so that what it leaves is what a power cut would leave.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from s3fs import S3FileSystem

from fedmem.bucket import Bucket, Runs

STEPS = ("_put_file", "_pipe_file", "_rm_file")


def main(url: str, folder: str, number: int) -> None:
    """Arm the step and publish."""
    left = [number]
    for name in STEPS:
        setattr(S3FileSystem, name, counted(getattr(S3FileSystem, name), left))
    Runs(Path(folder), Bucket(url)).publish(7, 4)


def counted(step: Any, left: list[int]) -> Any:
    async def take(*args: Any, **options: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return await step(*args, **options)

    return take


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
