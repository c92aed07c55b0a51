"""A program: train a tiny run with the settings of each of its arguments, and say as JSON what came of them."""

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from fedmem.config import ExperimentConfig
from fedmem.experiment import TrainingRun
from tests.tiny import tiny_config, tiny_snapshot


def trained(config: ExperimentConfig, folder: Path) -> dict[str, Any]:
    """What a run came to."""
    run = TrainingRun.start(folder / "run", tiny_snapshot(config))
    reports = list(run.rounds())
    table = run.finish().table
    parameters = run.server.state.parameters
    weights = hashlib.sha256(b"".join(parameters[name].tobytes() for name in sorted(parameters)))
    memories = run.population.memories(run.server.state.round)
    found = {
        "rounds": [dict(report.metrics) for report in reports],
        "test": {name: mean for name, (mean, _) in table.values.items()},
        "weights": weights.hexdigest(),
        "memories": {user: m.items.tolist() for some in memories for user, m in some.items()},
    }
    run.close()
    return found


if __name__ == "__main__":
    found = []
    for settings in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            found.append(trained(tiny_config(**json.loads(settings)), Path(folder)))
    sys.stdout.write(json.dumps(found))
