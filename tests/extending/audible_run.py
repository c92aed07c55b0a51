"""A program: train a tiny run on the vectors of its argument's file, serve it, and say as JSON where audio appears."""

import json
import sys
import tempfile
from pathlib import Path

from dashboard.charts.recommend import parts_of
from dashboard.words import EXPERTS
from fedmem.contracts import Selection
from fedmem.experiment import TrainingRun
from fedmem.serving import Question, Recommender
from fedmem.snapshot import take_snapshot
from tests.tiny import tiny_config, tiny_dataset

if __name__ == "__main__":
    features = {"text": "off", "image": "off", "audio": "required", "audio_vectors": sys.argv[1]}
    snapshot = take_snapshot(tiny_config(features=features), tiny_dataset())
    with tempfile.TemporaryDirectory() as folder:
        run = TrainingRun.start(Path(folder) / "run", snapshot)
        reports = list(run.rounds())
        run.finish()
        run.close()
        recommender = Recommender.load(run.directory.path)
        prototypes = run.server.state.global_memory
    response = recommender.answer(Question("3", selection=Selection(explain=True))).response("3")
    parts = response.items[0].explanation
    found = {
        "note": snapshot.provenance["audio"],
        "gates": [report.metrics["gate_audio"] for report in reports],
        "blocks": list(prototypes.blocks),
        "explained gates": response.explanation.gates,
        "read": [entry.weights["audio"] for entry in response.explanation.memory],
        "share": parts.experts["audio"],
        "difference": abs(sum(parts.summands().values()) - response.items[0].score),
        "words": [EXPERTS["gate_audio"], *parts_of(response.items[0])],
        "adapter": list(run.server.state.parameters["retriever.audio_adapter.weight"].shape),
    }
    sys.stdout.write(json.dumps(found))
