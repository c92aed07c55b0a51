"""New users and new items in the ladder's tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cli.comparison import cold_rows
from cli.screen import notes
from fedmem.checkpoint import Snapshot
from fedmem.data.interactions import Item
from fedmem.errors import FeatureError
from fedmem.evaluation.ablation_table import NEW_ITEMS, Record
from fedmem.evaluation.bootstrap import bootstrap
from fedmem.evaluation.cold_items import HeldOutItems, NewItemScorer, evaluate_new_items
from fedmem.evaluation.evaluate import Scorer
from fedmem.evaluation.metric_table import Moments
from fedmem.evaluation.new_item_baselines import (
    GENRE_REGULARISATION,
    TEXT_REGULARISATION,
    Chance,
    Describe,
    UserRidge,
    genres_of,
)
from fedmem.evaluation.ranking_metrics import FloatArray, IntArray
from fedmem.modality import Modality
from fedmem.randomness import numpy_generator
from fedmem.serving import Question, Recommender
from fedmem.serving.new_items import encode

GENRES, TEXTS = "ridge on genres, per user", "ridge on texts, per user"


@dataclass(frozen=True)
class ServedNewItems:
    """A model as it answers once the items are put into its catalogue."""

    recommender: Recommender

    def score_new(self, users: IntArray, items: Sequence[Item]) -> npt.NDArray[np.float32]:
        """Return the scores [B, C] of answers to users who are known with their whole history.

        Raises:
            FeatureError: if the model uses no texts.
        """
        served = self.recommender.with_items(items)
        columns = [served.catalogue.index(item.item_id) - 1 for item in items]
        ids = [served.dataset.vocabulary.user_id(user) for user in users.tolist()]
        return np.stack([served.scores(Question(one))[columns] for one in ids])


def new_item_baselines(held_out: HeldOutItems, snapshot: Snapshot) -> dict[str, NewItemScorer]:
    """Make what a model has to beat among new items; a regression where items have what it reads."""
    dataset, found = snapshot.dataset, dict[str, NewItemScorer](chance=Chance())
    if any(item.genres for item in held_out.items):
        found[GENRES] = UserRidge(dataset, genres_of(dataset), GENRE_REGULARISATION)
    if Modality.TEXT in snapshot.features.vectors:
        found[TEXTS] = UserRidge(dataset, _texts_of(snapshot), TEXT_REGULARISATION)
    return found


def _texts_of(snapshot: Snapshot) -> Describe:
    """Describe items by their texts' vectors, of length 1 or, without a text, 0: [n, D_t]."""

    def describe(items: Sequence[Item]) -> FloatArray:
        placed = encode(snapshot, {place: item.text for place, item in enumerate(items)})
        rows = np.stack([placed.vectors[place] for place in range(len(items))]).astype(np.float64)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        scaled: FloatArray = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
        return scaled

    return describe


@dataclass(frozen=True)
class ColdTables:
    """What was measured of new users and, where items are held out, of new items, by model and seed.

    Attributes:
        held_out: the items that are new, by seed; empty where none are.
    """

    held_out: Mapping[int, HeldOutItems]
    _users: dict[str, list[Record]] = field(default_factory=dict)
    _items: dict[str, dict[int, FloatArray]] = field(default_factory=dict)

    def add_users(self, seed: int, snapshot: Snapshot, scorers: Mapping[str, Scorer]) -> None:
        """Measure models on the users that a seed kept out of training, if it kept some."""
        for row in cold_rows(snapshot, scorers):
            runs = self._users.setdefault(row.scorer, [])
            if not runs or runs[-1]["seed"] != seed:
                runs.append({"seed": seed, "by_interactions": {}})
            runs[-1]["by_interactions"][str(row.interactions)] = row.table.to_dict()["metrics"]

    def add_items(self, seed: int, scorers: Mapping[str, NewItemScorer]) -> None:
        """Measure models on the items that a seed held out, if it did."""
        if seed not in self.held_out:
            return
        for name, scorer in scorers.items():
            try:
                values = evaluate_new_items(self.held_out[seed], scorer)
                self._items.setdefault(name, {})[seed] = values
            except FeatureError as error:
                notes.print(f"{name} has no figure among new items: {error}")

    def record(self) -> Record:
        """Return the tables, each a list of {name, runs}; none of what was not measured."""
        users = [{"name": name, "runs": runs} for name, runs in self._users.items()]
        items = [{"name": name, "runs": _runs(by_seed)} for name, by_seed in self._items.items()]
        return ({"new_users": users} if users else {}) | ({"new_items": items} if items else {})

    def differences(self, seed: int) -> list[Record]:
        """Compare each model with the regression on genres, by a paired bootstrap over users and seeds."""
        models = [name for name in self._items if name not in ("chance", GENRES)]
        if GENRES not in self._items or not models:
            return []
        base = self._matrix(GENRES)
        drawn = bootstrap([self._matrix(name) - base for name in models], numpy_generator(seed, "bootstrap"))
        return [
            {"model": name, "other": GENRES, "metric": NEW_ITEMS, **vars(found)}
            for name, found in zip(models, drawn, strict=True)
        ]

    def _matrix(self, name: str) -> FloatArray:
        """Return a model's values by seed and user [S, U], NaN where a seed did not measure a user."""
        users = np.unique(np.concatenate([one.users for one in self.held_out.values()]))
        found = np.full((len(self.held_out), len(users)), np.nan)
        for row, (seed, held_out) in enumerate(self.held_out.items()):
            found[row, np.searchsorted(users, held_out.users)] = self._items[name][seed]
        return found


def _runs(by_seed: Mapping[int, FloatArray]) -> list[dict[str, Any]]:
    return [{"seed": seed, NEW_ITEMS: summary(values)} for seed, values in by_seed.items()]


def summary(values: FloatArray) -> dict[str, float | None]:
    """Return mean and standard error over users, the error null for a single one."""
    table = Moments.of(values)
    return {"mean": table.mean, "standard_error": None if table.count < 2 else table.standard_error}
