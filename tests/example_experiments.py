"""An ablation and a search as their commands write them, without the minutes that those take."""

import json
from pathlib import Path
from typing import Any


def measured(mean: float) -> dict[str, Any]:
    """Both metrics that the page shows."""
    return {
        metric: {"mean": mean * factor, "standard_error": 0.01} for metric, factor in (("HR@10", 2), ("NDCG@10", 1))
    }


def baseline(name: str, mean: float) -> dict[str, Any]:
    """A row without a training."""
    lists = {"coverage": 0.1, "long-tail share": 0.2}
    return {"name": name, "runs": [{"seed": 1, "validation": measured(mean), "test": measured(mean), "lists": lists}]}


def rung(name: str, directory: str, *means: float) -> dict[str, Any]:
    """A row with a training for each seed."""
    runs = [
        {
            "seed": seed,
            "directory": f"{directory}-{seed}",
            "validation": measured(mean + 0.01),
            "test": measured(mean),
            "best_round": 3,
            "rounds": 4,
            "seconds": 30.0,
            "bytes": {"down_weights": 1500.0, "up_weights": 1000.0, "up_prototypes": 500.0},
            "lists": {"coverage": 0.5 + seed / 10, "long-tail share": 0.4},
        }
        for seed, mean in enumerate(means, start=1)
    ]
    return {"name": name, "runs": runs}


def difference(other: str, mean: float, width: float, metric: str) -> dict[str, Any]:
    """FedMem-Full minus another."""
    return {"model": "FedMem-Full", "other": other, "metric": metric, "mean": mean} | {
        "low": mean - width,
        "high": mean + width,
        "p": 0.01,
    }


ABLATION: dict[str, Any] = {
    "fedmem": "0.1.0",
    "commit": "c4945170000000000000",
    "date": "2026-11-26",
    "dataset": {"name": "tiny", "digest": "ab" * 32, "users": 12},
    "models": [
        baseline("popularity", 0.1),
        baseline("item-item counts", 0.2),
        rung("FedAvg-SASRec", "transitions", 0.21, 0.23),
        rung("FedMem-Full", "fedmem", 0.24, 0.28),
    ],
    "new_users": [
        {"name": "FedMem-Full", "runs": [{"seed": 1, "by_interactions": {"0": measured(0.05), "10": measured(0.2)}}]}
    ],
    "new_items": [
        {"name": name, "runs": [{"seed": seed, "NDCG@20": {"mean": mean, "standard_error": 0.01}} for seed in (1, 2)]}
        for name, mean in (("ridge on genres, per user", 0.27), ("FedMem-Full", 0.3))
    ],
    "differences": [
        {"model": "FedMem-Full", "other": "ridge on genres, per user", "metric": "NDCG@20"}
        | {"mean": 0.03, "low": 0.01, "high": 0.05, "p": 0.01},
        *(
            difference(other, mean, width, metric)
            for metric in ("HR@10", "NDCG@10")
            for other, mean, width in (("item-item counts", 0.06, 0.02), ("FedAvg-SASRec", 0.04, 0.05))
        ),
    ],
}
_TRIALS = (("complete", 0.2, None), ("pruned", 0.1, None), ("failed", None, "it must divide"), ("complete", 0.25, None))
STUDY: dict[str, Any] = {
    "fedmem": "0.1.0",
    "commit": None,
    "dataset": {"name": "tiny", "digest": "ab" * 32},
    "metric": "NDCG@10",
    "seed": 42,
    "space": {"model.sasrec_dropout": [0.1, 0.2]},
    "planned": 6,
    "baselines": {"popularity": 0.1, "item-item counts": 0.22},
    "importance": {"model.sasrec_dropout": 0.75, "training.loss": 0.25},
    "configurations": 4,
    "trials": [
        {
            "number": number,
            "state": state,
            "value": value,
            "validations": [] if value is None else [value],
            "params": {"model.sasrec_dropout": 0.1 * number, "training.loss": "bpr"},
            "reason": reason,
            "started": f"2026-11-2{number}T10:00:00",
        }
        for number, (state, value, reason) in enumerate(_TRIALS)
    ],
    "best": 3,
    "seconds": 60.0,
}


def write_experiment(data_dir: Path, name: str, file: str, record: object) -> Path:
    """Put one into the installation's folder."""
    folder = data_dir / "experiments" / name
    folder.mkdir(parents=True)
    (folder / file).write_text(json.dumps(record), encoding="utf-8")
    return folder
