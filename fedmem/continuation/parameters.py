"""A trained model's parameters for a newer catalogue: rows go with their items, new ones begin from their texts."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from fedmem.config import ExperimentConfig
from fedmem.continuation.renumbering import Renumbering
from fedmem.features.store import ItemFeatures
from fedmem.federated.messages import ITEM_ROWS, Arrays
from fedmem.federated.parameters import parameter_arrays
from fedmem.federated.server_optimizers import OptimizerState
from fedmem.federated.start import build_model
from fedmem.modality import Modality
from fedmem.model.item_vectors import availability_codes
from fedmem.model.new_rows import ids_of_texts
from fedmem.model.recommender import UR4RecV2MoE

FloatArray = npt.NDArray[np.floating]
PATTERNS = "retriever.availability."  # a row for each pattern of modalities but the first, which has none


class CarriedParameters:
    """Carries arrays by parameter from a model of one catalogue to one of a newer.

    Args:
        config: the run's configuration.
        before: the features that the model was trained with.
        after: those of the newer catalogue, with the mean and the scale of the older.
        renumbering: where the items stand in it.
    """

    def __init__(
        self, config: ExperimentConfig, before: ItemFeatures, after: ItemFeatures, renumbering: Renumbering
    ) -> None:
        self._config = config.model_copy(update={"device": "cpu"})
        self._before, self._renumbering = before, renumbering
        self._fresh = build_model(self._config, renumbering.num_items, after)
        self._start = parameter_arrays(self._fresh)

    def weights(self, trained: Arrays) -> dict[str, FloatArray]:
        """Carry weights; an item that has a text begins as its likes are, one without as in a new training."""
        model = build_model(self._config, self._before.num_items, self._before, trained)
        patterns = _Patterns(model, self._fresh)
        return {
            name: self._with_new_rows(model, trained[name], start)
            if name == ITEM_ROWS
            else patterns.carried(trained.get(name), start, relative=True)
            if name.startswith(PATTERNS)
            else trained[name]
            for name, start in self._start.items()
        }

    @torch.inference_mode()
    def _with_new_rows(self, model: UR4RecV2MoE, trained: FloatArray, start: FloatArray) -> FloatArray:
        rows = self._moved(trained, start)
        texts = self._fresh.features.get(Modality.TEXT)
        if texts is not None:
            new = self._renumbering.new_items[texts.mask.numpy()[self._renumbering.new_items]]
            if len(new):
                rows[new] = ids_of_texts(model, texts.vectors[torch.from_numpy(new)]).numpy()
        return rows

    def moments(self, trained: Arrays, optimizer: OptimizerState) -> OptimizerState:
        """Carry the optimiser's moments; a new row's second is the others' mean, or its first steps would be too long.

        ``trained`` are the weights that they belong to.
        """
        patterns = _Patterns(build_model(self._config, self._before.num_items, self._before, trained), self._fresh)

        def carried(moments: Arrays, of_new: Callable[[FloatArray], FloatArray], *, relative: bool) -> Arrays:
            return {
                name: self._moved(moments[name], np.broadcast_to(of_new(moments[name][1:]), start.shape))
                if name == ITEM_ROWS
                else patterns.carried(moments.get(name), np.zeros_like(start), relative=relative)
                if name.startswith(PATTERNS)
                else moments[name]
                for name, start in self._start.items()
            }

        first = carried(optimizer.first, lambda rows: np.zeros_like(rows[0]), relative=True)
        second = carried(optimizer.second, lambda rows: rows.mean(0), relative=False)
        return OptimizerState(first, second, optimizer.step)

    def _moved(self, trained: FloatArray, start: FloatArray) -> FloatArray:
        """Put the rows of items [I + 1, D] where they stand now; others are as at the start."""
        rows, kept = np.array(start, trained.dtype), self._renumbering.kept_items
        rows[0] = trained[0]
        rows[self._renumbering.items[kept]] = trained[kept]
        return rows


class _Patterns:
    """The patterns of modalities that items had, and have now: which of them are the same."""

    def __init__(self, before: UR4RecV2MoE, after: UR4RecV2MoE) -> None:
        self._before, self._after = _codes(before), _codes(after)

    def carried(self, trained: FloatArray | None, start: FloatArray, *, relative: bool) -> FloatArray:
        """Carry rows [P − 1, ..] by pattern; ``relative`` ones are differences to the first pattern's, which has none.

        A pattern that no item had begins like the first one of before.
        """
        nothing = np.zeros((1, *start.shape[1:]), start.dtype)
        old = nothing if trained is None else np.concatenate([nothing, trained])
        rows = {code: old[number] for number, code in enumerate(self._before)}
        found = np.stack([rows.get(code, nothing[0]) for code in self._after])
        return (found - found[0] if relative else found)[1:]


def _codes(model: UR4RecV2MoE) -> list[int]:
    """List the patterns that items have, in the order of their numbers."""
    if not model.modalities:
        return [0]
    codes: list[int] = availability_codes(model.features)[1:].unique().tolist()
    return codes
