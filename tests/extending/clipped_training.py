"""A program: train a tiny run clipped to the length of its argument, and say as JSON how long what was sent is."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from fedmem.federated.clipping import Clipping

from fedmem.experiment import TrainingRun
from fedmem.federated.postprocessing import Postprocessor
from tests.tiny import tiny_config, tiny_snapshot


class Lengths(Postprocessor):
    """Notes the length of every update that comes by."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def postprocess_one_client(self, update: Any, rng: np.random.Generator) -> Any:
        self.seen.append(float(np.sqrt(sum(np.square(delta).sum() for delta in update.delta.values()))))
        return update


if __name__ == "__main__":
    before, after = Lengths(), Lengths()
    chain = [before, Clipping(float(sys.argv[1])), after]
    with tempfile.TemporaryDirectory() as folder:
        run = TrainingRun.start(Path(folder) / "run", tiny_snapshot(tiny_config()), postprocessors=chain)
        clients = sum(report.metrics["clients"] for report in run.rounds())
        run.close()
    sys.stdout.write(json.dumps({"clients": clients, "before": before.seen, "after": after.seen}))
