"""A program: train a tiny run with the settings of its argument, and say as JSON what came of it."""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

from fedmem.experiment import TrainingRun
from tests.tiny import tiny_config, tiny_snapshot

if __name__ == "__main__":
    config = tiny_config(**json.loads(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        run = TrainingRun.start(Path(folder) / "run", tiny_snapshot(config))
        reports = list(run.rounds())
        table = run.finish().table
        parameters = run.server.state.parameters
        weights = hashlib.sha256(b"".join(parameters[name].tobytes() for name in sorted(parameters)))
        memories = {
            user: m.items.tolist()
            for some in run.population.memories(run.server.state.round)
            for user, m in some.items()
        }
        run.close()
    sys.stdout.write(
        json.dumps(
            {
                "rounds": [dict(report.metrics) for report in reports],
                "test": {name: mean for name, (mean, _) in table.values.items()},
                "weights": weights.hexdigest(),
                "memories": memories,
            }
        )
    )
