"""``python killed_trainer.py POINT N``: a trainer that kills itself (SIGKILL) when it comes to a point the N-th time.

SIGKILL cannot be caught, so that whatever it leaves is what a power cut or the out-of-memory killer would leave of the
process. The points lie inside what a round does; the code that is killed is the product's own.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

ROOT = Path(__file__).resolve().parents[2]
# By how often a run of ROUNDS rounds comes there at least, see test_kill.py.
POINTS = (
    "snapshot",  # the data set is on disk, the manifest is not
    "training",  # a chunk of clients is trained and their memories are written
    "aggregation",  # the parameters are updated
    "evaluation",  # a group of clients has evaluated
    "half a file",  # half of a checkpoint's file is written
    "before the rename",  # all files of a checkpoint are written, under a name that does not count
    "before the commit",  # the checkpoint is there, the rows are in the transaction
    "after the commit",
    "removal",  # an old checkpoint has lost its name, and is still there
    "the end",  # the best model was tested, and the result was not recorded
)


def main(point: str, number: int) -> None:
    """Arm the point and train."""
    if os.fspath(ROOT) not in sys.path:
        sys.path.insert(0, os.fspath(ROOT))
    arm(point, number)
    from trainer.__main__ import main as train

    sys.argv = ["trainer", "--until-idle"]
    train()


def arm(point: str, number: int) -> None:
    """Replace one function of the product by itself and a count."""
    from fedmem.checkpoint import RunDirectory, atomic_files, checkpoints
    from fedmem.experiment import TrainingRun
    from fedmem.federated.aggregation import FederatedAggregator
    from fedmem.federated.client_host import ClientHost
    from fedmem.storage.jobs import JobStore

    count = Countdown(number)
    if point == "half a file":
        spoil_writes(atomic_files, count)
    elif point == "before the commit":
        before_commit(JobStore, count)
    else:
        owner, name, before = {
            "snapshot": (RunDirectory, "write_manifest", True),
            "training": (ClientHost, "train", False),
            "aggregation": (FederatedAggregator, "step", False),
            "evaluation": (ClientHost, "evaluate", False),
            "before the rename": (checkpoints, "write_json", False),
            "after the commit": (JobStore, "commit_round", False),
            "removal": (checkpoints.shutil, "rmtree", True),
            "the end": (TrainingRun, "finish", False),
        }[point]
        setattr(owner, name, counted(getattr(owner, name), count, before=before))


class Countdown:
    """Kills the process when it comes to zero."""

    def __init__(self, number: int) -> None:
        self.left = number

    def tick(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def counted(function: Callable[..., Any], count: Countdown, *, before: bool) -> Callable[..., Any]:
    def replaced(*arguments: Any, **named: Any) -> Any:
        if before:
            count.tick()
        result = function(*arguments, **named)
        if not before:
            count.tick()
        return result

    return replaced


def spoil_writes(atomic_files: Any, count: Countdown) -> None:
    """The last write that the N-th call makes is cut in half."""
    import fedmem.checkpoint.run_directory as run_directory

    whole = atomic_files.write_bytes

    def cut(path: Path, content: bytes) -> None:
        if count.left == 1:
            path.with_name(f".{path.name}.{os.getpid()}").write_bytes(content[: len(content) // 2])
        count.tick()
        whole(path, content)

    atomic_files.write_bytes = run_directory.write_bytes = cut


def before_commit(store: Any, count: Countdown) -> None:
    """Between the statements of ``commit_round`` and their commit."""
    inside = [False]
    original = store.commit_round

    def committing(*arguments: Any) -> None:
        inside[0] = True
        original(*arguments)
        inside[0] = False

    store.commit_round = committing

    @event.listens_for(Engine, "commit")
    def tick(connection: Connection) -> None:
        if inside[0]:
            count.tick()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
