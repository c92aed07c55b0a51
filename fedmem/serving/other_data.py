"""A model as a scorer of other data than it was trained on: the same users and items by their ids, and new ones."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import FeatureError
from fedmem.serving.recommender import Recommender

Indices = npt.NDArray[np.integer]


class TransferredScorer:
    """A ``Scorer`` of a data set, by a model of another or an earlier one.

    Users are found by their ids, and items too; items that are new to the model are placed by their texts, as in
    service. Those that cannot be come last, as a list that is served does not hold them.

    Args:
        recommender: the model, without what was held out.
        dataset: whose users and items are scored.
    """

    def __init__(self, recommender: Recommender, dataset: FederatedDataset) -> None:
        self._dataset = dataset
        self._model = _with_new_items(recommender, dataset)
        ids = [item.item_id for item in dataset.items]
        known = {item_id: self._model.catalogue.index(item_id) for item_id in ids if item_id in self._model.catalogue}
        self._theirs = np.array([0, *(known.get(item_id, 0) for item_id in ids)], np.int64)  # [I + 1]

    def score(self, users: Indices, histories: Sequence[Indices]) -> npt.NDArray[np.float32]:
        """Score all items [B, I + 1] for users and their histories, in the data set's indices."""
        read = [self._history(history) for history in histories]
        contexts = [
            self._model.context_of(self._user(int(user)), history) for user, history in zip(users, read, strict=True)
        ]
        scores = self._model.scorer.score(contexts, read)[:, self._theirs]
        scores[:, self._theirs == 0] = -np.inf
        return scores

    def _user(self, user: int) -> int | None:
        return self._model.user_index(self._dataset.vocabulary.user_id(user))

    def _history(self, history: Indices) -> Indices:
        theirs = self._theirs[history]
        return theirs[(theirs > 0) & (theirs <= self._model.catalogue.trained)].astype(np.int32)


def _with_new_items(recommender: Recommender, dataset: FederatedDataset) -> Recommender:
    new = [item for item in dataset.items if item.item_id not in recommender.catalogue and item.text.strip()]
    with suppress(FeatureError):  # a model without texts knows its own items alone
        return recommender.with_items(new)
    return recommender
