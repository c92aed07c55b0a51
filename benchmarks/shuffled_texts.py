"""What item texts are worth: the default model with its own, with those of other items, and without.

    python -m benchmarks.shuffled_texts --data data/ml-100k [--out runs/shuffled-texts]

Texts are dealt to other items at random, so that all else is the same: parameters, updates, the texts as a whole. Seeds
42 and 43; differences of NDCG@10 are paired over users, whose mean over the seeds is taken. A run that is there is not
trained again.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fusion_weight import Floats, gains
from benchmarks.kept_run import trained
from benchmarks.measure import machine, write_result
from benchmarks.stored_scores import StoredScores, loaded
from fedmem.checkpoint import RunDirectory
from fedmem.config_reader import validate_config
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats import load_dataset
from fedmem.evaluation.evaluate import Split
from fedmem.randomness import numpy_generator

WAYS = ("own", "shuffled", "none")
SEEDS = (42, 43)


def dealt(dataset: FederatedDataset) -> FederatedDataset:
    """Deal texts to other items at random."""
    order = numpy_generator(0, "texts of other items").permutation(len(dataset.items)).tolist()
    items = zip(dataset.items, order, strict=True)
    return replace(dataset, items=tuple(replace(item, text=dataset.items[other].text) for item, other in items))


def measured(dataset: FederatedDataset, path: Path, split: Split, **settings: Any) -> Floats:
    """Train a run to its end unless it is there; each user's NDCG@10 as it is served [U]."""
    if not RunDirectory(path).exists or not RunDirectory(path).read_record().finished:
        trained(validate_config(settings, "the study"), dataset, path)
    recommender = loaded(path)
    scores, table = StoredScores.of(recommender, split), recommender.scorer.transitions
    assert table is not None, "as loaded"
    return gains(scores.ranks(table, np.full(len(scores.users), recommender.scorer.strengths.general)))


def compared(dataset: FederatedDataset, out: Path, split: Split, **settings: Any) -> dict[str, dict[str, float]]:
    """Measure each way, and how far the item's own texts are above it."""
    found = {}
    for way in WAYS:
        data, text = dealt(dataset) if way == "shuffled" else dataset, "off" if way == "none" else "required"
        runs = [
            measured(data, out / f"{way}-{seed}", split, seed=seed, features={"text": text}, **settings)
            for seed in SEEDS
        ]
        found[way] = np.mean(runs, axis=0)
    rows = {}
    for way, one in found.items():
        more = found["own"] - one
        rows[way] = {"ndcg": one.mean(), "own_minus": more.mean(), "error": more.std() / len(more) ** 0.5}
    return rows


def main() -> None:
    """Print both splits and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/shuffled-texts"))
    asked = parser.parse_args()
    dataset = load_dataset(asked.data)
    splits: tuple[Split, ...] = ("validation", "test")
    found = {split: compared(dataset, asked.out, split) for split in splits}
    for split, rows in found.items():
        for way, row in rows.items():
            told = " ".join(f"{key} {value:+.4f}" for key, value in row.items())
            sys.stdout.write(f"{split:>10}, {way:>8}: {told}\n")
    name = f"shuffled_texts-{dataset.name}"
    sys.stdout.write(f"kept in {write_result(name, {'rows': found, 'machine': machine()})}\n")


if __name__ == "__main__":
    main()
