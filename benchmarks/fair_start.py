"""A new item's start: is it recommended to those who took its kin, as often as the kin that they have not taken?

    python -m benchmarks.fair_start --data ../shared/data --draws 42,43 [--out runs/fair] [--keep]

A tenth of the items of MovieLens 100K and of Amazon's Industrial_and_Scientific is drawn, all interactions with them
are taken out, a model is trained on what is left with the default configuration, and the items are put into its
catalogue by their texts, as ``PUT /items`` does. Three questions, each with what a new item's kin follow and without:

fair_start  the kin of a new item are the trained items of the five nearest texts, the nearest of a cosine of .5 at
            least. Users whose latest item is one of the kin: the place of the new item among all that they may be
            offered, beside the places, for the same users, of those of the kin that they have not taken.
next_item   NDCG@10 of each user's last interaction, with a new item or not, among all items, from what came before.
among_new   NDCG@20 of all new items that a user took at any time, among the new items, as ``fedmem ablate`` does.

Runs that are there are not trained again. Draws 1 and 2 were used to choose.
"""

import copy
import shutil
import statistics
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.measure import keeping_parser, machine, tell
from benchmarks.other_data import industrial
from fedmem.config_reader import validate_config
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats import read_dataset
from fedmem.evaluation.cold_items import HeldOutItems, hold_out_items, ndcg_of_sets
from fedmem.experiment import TrainingRun
from fedmem.features.inference import one_thread
from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.model.new_rows import likest
from fedmem.serving import Recommender
from fedmem.serving.new_items import encode
from fedmem.snapshot import take_snapshot

SHARE, LENGTH = 0.1, 10
KIN, LIKE = 5, 0.5
ROUNDS = {"ml-100k": 150, "amazon-industrial": 200}
AT_ONCE = 256
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Users:
    """Users as a model with new items is asked for them, by its indices.

    Attributes:
        histories: what it reads: trained items, all but the user's last interaction.
        hidden: what it must not offer: these and the new ones among them.
        targets: what each user took last [U].
    """

    histories: list[npt.NDArray[np.int32]]
    hidden: list[npt.NDArray[np.int64]]
    targets: npt.NDArray[np.int64]


def data_of(name: str, data: Path, out: Path) -> FederatedDataset:
    """Read one of the data sets."""
    if name == "ml-100k":
        return FederatedDataset.from_interactions(*read_dataset(data / name), name=name)
    interactions, items = industrial(data, out)
    return FederatedDataset.from_interactions(*read_dataset(interactions, items=items), name=name)


def model_of(folder: Path, dataset: FederatedDataset, rounds: int) -> Recommender:
    """Train a model, or read the one that is there."""
    changes = {"features": {"image": "off"}, "federated": {"num_rounds": rounds}, "evaluation": {"eval_every": 20}}
    config = validate_config(changes, "the benchmark")
    if not (folder / "trained").exists():
        shutil.rmtree(folder, ignore_errors=True)
        snapshot = take_snapshot(config, dataset.configured(config.data))
        with closing(TrainingRun.start(folder, snapshot)) as run:
            for _ in run.rounds():
                pass
        (folder / "trained").touch()
    return Recommender.load(folder)


def users_of(dataset: FederatedDataset, served: Recommender) -> Users:
    """Find the users of the whole data whose last item is new to them, and who took a trained one before."""
    index = np.array([0, *(served.catalogue.index(item) for item in dataset.vocabulary.items)])
    histories, hidden, targets = [], [], []
    for user in range(dataset.num_users):
        taken = index[dataset.history(user)]
        read = taken[:-1][taken[:-1] <= served.catalogue.trained]
        if len(taken) >= 3 and len(read) and taken[-1] not in taken[:-1]:
            histories.append(read.astype(np.int32))
            hidden.append(taken[:-1])
            targets.append(int(taken[-1]))
    return Users(histories, hidden, np.array(targets))


def scores_of(scorer: ModelScorer, users: Users) -> Iterator[FloatArray]:
    """Score all items for one user after the other, what is hidden last [I + 1]."""
    for first in range(0, len(users.histories), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        histories = users.histories[part]
        for row, hidden in zip(
            scorer.score([UserContext()] * len(histories), histories), users.hidden[part], strict=True
        ):
            row[0] = row[hidden] = -np.inf
            yield row.astype(np.float64)


def next_item(ranks: FloatArray, new: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Return the mean NDCG@10 of all, of those whose item is new, and of the others."""
    gains = gains_of(ranks)
    return {"all": round(gains.mean(), 4), "new": round(gains[new].mean(), 4), "others": round(gains[~new].mean(), 4)}


def gains_of(ranks: FloatArray) -> FloatArray:
    """Compute NDCG@10 of one right item from its place."""
    return np.where(ranks <= LENGTH, 1 / np.log2(ranks + 1), 0.0)


def fair_start(scores: list[FloatArray], users: Users, kin: npt.NDArray[np.int64], first: int) -> dict[str, Any]:
    """Compare the places of new items and of their kin for users who took one of these last.

    Args:
        scores: by user.
        users: those users.
        kin: of each new item, 0 where its text is like no other [C, 5].
        first: the index of the first new item.
    """
    places: dict[str, list[int]] = {"new": [], "kin": []}
    for row, history, hidden in zip(scores, users.histories, users.hidden, strict=True):
        for number in (kin == history[-1]).any(axis=1).nonzero()[0].tolist():
            if first + number in hidden:
                continue
            places["new"].append(place(row, first + number))
            places["kin"] += [place(row, one) for one in kin[number].tolist() if one not in hidden]
    return {"cases": len(places["new"])} | {
        side: {
            "median_place": statistics.median(found),
            "share_in_ten": round(statistics.mean(one <= LENGTH for one in found), 4),
        }
        for side, found in places.items()
    }


def place(row: FloatArray, item: int) -> int:
    """Return an item's place among all that is offered."""
    return 1 + int((row > row[item]).sum())


def measured(name: str, draw: int, data: Path, out: Path) -> dict[str, Any]:
    """Measure one draw of one data set."""
    dataset = data_of(name, data, out)
    held_out = hold_out_items(dataset, SHARE, np.random.default_rng(draw))
    served = model_of(out / f"{name}-{draw}", held_out.dataset, ROUNDS[name]).with_items(held_out.items)
    users, first = users_of(dataset, served), served.catalogue.trained + 1
    new, kin = users.targets >= first, kin_of(served, held_out)
    without = copy.copy(served.scorer)
    without.kin = None
    found, ranks = {}, {}
    for side, scorer in {"without kin": without, "served": served.scorer}.items():
        scores = list(scores_of(scorer, users))
        ranks[side] = np.array([place(row, item) for row, item in zip(scores, users.targets.tolist(), strict=True)])
        found[side] = {
            "fair_start": fair_start(scores, users, kin, first),
            "next_item": next_item(ranks[side], new),
            "among_new": round(float(among_new(scorer, served, held_out).mean()), 4),
        }
    gain = gains_of(ranks["served"]) - gains_of(ranks["without kin"])
    error = gain.std(ddof=1) / len(gain) ** 0.5
    counts = {"users": len(gain), "new_targets": int(new.sum()), "new_items": len(held_out.items)}
    return counts | found | {"gain": round(gain.mean(), 5), "standard_error": round(error, 5)}


def among_new(scorer: ModelScorer, served: Recommender, held_out: HeldOutItems) -> FloatArray:
    """Compute NDCG@20 among the new items of every user who took one [B]."""
    columns = [served.catalogue.index(item.item_id) for item in held_out.items]
    histories = [held_out.dataset.history(user) for user in held_out.users.tolist()]
    return ndcg_of_sets(scorer.score([UserContext()] * len(histories), histories)[:, columns], held_out.taken)


def kin_of(served: Recommender, held_out: HeldOutItems) -> npt.NDArray[np.int64]:
    """Find the trained items of the texts nearest to each new one's [C, 5]."""
    trained = served.trained
    texts = encode(trained.snapshot, {place: item.text for place, item in enumerate(held_out.items)}).vectors
    vectors = torch.from_numpy(np.stack([texts[place] for place in range(len(held_out.items))]))
    items, cosines = (part.numpy() for part in likest(trained.model, vectors, KIN))
    return np.where(cosines[:, :1] >= LIKE, items, 0)


def main() -> None:
    """Train what is missing, measure, and print the record as JSON."""
    parser = keeping_parser("fair_start", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds both data sets")
    parser.add_argument("--draws", default="42,43", help="of the new items")
    parser.add_argument("--out", type=Path, default=Path("runs/fair"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with one_thread():
        record = {
            f"{name}, draw {draw}": measured(name, int(draw), asked.data, asked.out)
            for name in ROUNDS
            for draw in asked.draws.split(",")
        }
    tell("fair_start", record | {"machine": machine()}, asked.keep)


if __name__ == "__main__":
    main()
