"""What follows what: rows of the transition memory by title, without those that few interactions stand behind."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.contracts import Follower, TransitionRow, TransitionRows
from fedmem.errors import ConflictError
from fedmem.memory.transitions import TransitionTable
from fedmem.serving.recommender import Recommender

FEWEST = 5  # interactions, below which an item would show what a single client did


@dataclass(frozen=True, eq=False)
class ShownTransitions:
    """The rows of one model version as readers may see them.

    Attributes:
        recommender: the model version.
        followers: how many entries are shown of a row, the greatest.
    """

    recommender: Recommender
    followers: int

    def strongest(self, k: int) -> TransitionRows:
        """Show the k rows whose entries weigh most together.

        Raises:
            ConflictError: if the model has no transition memory.
        """
        table = self._table()
        totals = np.where(table.taken >= FEWEST, table.weights.sum(1), 0)
        order = (-totals).argsort(kind="stable")[:k]
        return self._answer(table, order[totals[order] > 0])

    def of(self, item_id: str) -> TransitionRows:
        """Show the row of one item; none if too few took it, or nothing followed it.

        Raises:
            UnknownItemError: if there is no such item.
            ConflictError: if the model has no transition memory.
        """
        table, index = self._table(), self.recommender.catalogue.index(item_id)
        shown = index < len(table.taken) and table.taken[index] >= FEWEST and table.weights[index].any()
        return self._answer(table, np.array([index] if shown else [], np.int64))

    def _table(self) -> TransitionTable:
        if self.recommender.scorer.transitions is None:
            raise ConflictError(
                f"model {self.recommender.model_version} reads no transitions: ask a model that was trained with "
                "ablation.disable_transitions=false and whose validation gave them a weight"
            )
        return self.recommender.scorer.transitions

    def _answer(self, table: TransitionTable, indices: npt.NDArray[np.int64]) -> TransitionRows:
        model = self.recommender
        return TransitionRows(
            model_version=model.model_version,
            dataset=model.dataset.name,
            round=model.round,
            strength=model.scorer.strengths.general,
            interactions=int(table.taken.sum()),
            rows=tuple(self._row(table, index) for index in indices.tolist()),
        )

    def _row(self, table: TransitionTable, index: int) -> TransitionRow:
        catalogue, item = self.recommender.catalogue, self.recommender.catalogue.item(index)
        pairs = zip(table.items[index].tolist(), table.weights[index].tolist(), strict=True)
        shown = [(target, weight) for target, weight in pairs if weight and table.taken[target] >= FEWEST]
        named = ((catalogue.item(target), weight) for target, weight in shown[: self.followers])
        return TransitionRow(
            item_id=item.item_id,
            title=item.label,
            taken=int(table.taken[index]),
            weight=float(table.weights[index].sum()),
            followers=tuple(Follower(item_id=one.item_id, title=one.label, weight=weight) for one, weight in named),
        )
