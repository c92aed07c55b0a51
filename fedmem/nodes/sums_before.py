"""What a node remembers of the secure sums that it has let be read, over all runs.

::

    STORE/sums/QUESTION.json    of which nodes a sum was

Who has two sums of the same question, of which one is of a node fewer, has that node's part by their difference. Every
node of the smaller sum is in the other too and can refuse, whatever was lost or put back at the server.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from fedmem.checkpoint.atomic_files import read_json, write_json, writing

FOLDER = "sums"


class SumsBefore:
    """The sums that a node took part in.

    Args:
        run: the run's folder in the node's store, which holds its users as they are in this run.
    """

    def __init__(self, run: Path) -> None:
        self.folder, self.run = run.parent / FOLDER, run

    def of(self, questions: Sequence[str]) -> list[str]:
        """Tell of which nodes, by their tags, a sum was that was asked for by one of these questions; none if none."""
        for path in self._paths(questions):
            if path.exists():
                return list(read_json(path)["nodes"])
        return []

    def note(self, questions: Sequence[str], nodes: Sequence[str]) -> None:
        """Note of which nodes a sum is, before it can be read."""
        with writing(self.folder):
            self.folder.mkdir(mode=0o700, exist_ok=True)
        for path in self._paths(questions):
            write_json(path, {"nodes": list(nodes)})

    def _paths(self, questions: Sequence[str]) -> list[Path]:
        """Name the files, by this run's question and, with the users' data as they are now, by any run's."""
        of_run, of_any = questions
        users = (self.run / "dataset.safetensors").read_bytes()
        asked = hashlib.sha256(of_any.encode() + hashlib.sha256(users).digest()).hexdigest()
        return [
            self.folder / f"{hashlib.sha256(of_run.encode()).hexdigest()[:32]}.json",
            self.folder / f"{asked[:32]}.json",
        ]
