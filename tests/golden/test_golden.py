"""A tiny seeded run on the embedded catalogue against stored metrics: whoever moves a number learns it here.

The configuration is stored beside the metrics, so that other defaults move nothing. Where numbers change on purpose,
``FEDMEM_WRITE_GOLDEN=1 pytest tests/golden`` stores them anew, and the changelog says why.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from fedmem.config_reader import validate_config
from fedmem.data.demo import write_demo
from fedmem.data.formats import load_dataset
from fedmem.experiment import TrainingRun
from fedmem.snapshot import take_snapshot

STORED = Path(__file__).with_name("demo_run.json")
# Losses agree to 1e-4. Another instruction set moves a score by 1e-7; that sends one of thousands of positions past the
# memory's gate, one of the 490 users across a cut-off, and from then on the two runs part a little.
EXACT, PARTED, COUNTED = 1e-4, 2e-3, 0.1


def tolerance(name: str) -> float:
    """How far a number may lie from the stored one, as a share of it."""
    if not re.search(r"_loss$|/surprise_mean$|/bytes_|/clients$|/round$|/num_users$", name):
        return COUNTED
    return PARTED if re.match(r"/rounds/[4-7]/", name) else EXACT


CONFIG: dict[str, Any] = {
    "features": {"text": "off", "image": "off"},
    "model": {"sasrec_hidden_dim": 32},
    "fedmem": {"warmup_rounds": 2},
    "federated": {"num_rounds": 8, "server_learning_rate": 0.02, "server_warmup_steps": 2, "chunk_size": 49},
    "evaluation": {"eval_every": 4},
    "ablation": {"disable_moe": False},
}


def measured(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Every round's metrics and the test result."""
    dataset = load_dataset(write_demo(folder / "demo", seed=42))
    run = TrainingRun.start(folder / "run", take_snapshot(validate_config(config, "the golden run"), dataset))
    list(run.rounds())
    table = run.finish().table.to_dict()
    return {"digest": dataset.digest, "rounds": run.directory.read_metrics(), "test": table}


def numbers(tree: Any, path: str = "") -> dict[str, float]:
    """Every number of nested JSON by its path."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {name: value for key, part in items for name, value in numbers(part, f"{path}/{key}").items()}
    return {path: float(tree)} if isinstance(tree, int | float) else {}


def test_the_run_gives_the_stored_metrics(tmp_path):
    if os.environ.get("FEDMEM_WRITE_GOLDEN"):
        config = validate_config(CONFIG, "the golden run").model_dump(mode="json")
        STORED.write_text(json.dumps({"config": config, **measured(tmp_path, config)}, indent=1) + "\n", "utf-8")
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    found = measured(tmp_path / "again", stored.pop("config"))
    assert found["digest"] == stored["digest"]
    expected = numbers(stored)
    assert len(expected) > 100
    assert expected["/rounds/7/metrics/memory_updates"] > 0
    assert numbers(found).keys() == expected.keys()
    for name, value in numbers(found).items():
        assert value == pytest.approx(expected[name], rel=tolerance(name), abs=tolerance(name) / 20), name
