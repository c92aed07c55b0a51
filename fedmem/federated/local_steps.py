"""The local steps of a client's round: which segments, which positions count, which negatives."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig, TrainingConfig
from fedmem.data.client_dataset import ClientDataset
from fedmem.features.preference_texts import preference_boundary
from fedmem.interruption import heed
from fedmem.randomness import numpy_generator


@dataclass(frozen=True, eq=False)
class LocalStep:
    """What one client puts into one local step.

    Attributes:
        items: its segments, each position a target of those before it, right-padded with 0 [S, T].
        start: history index of each segment's first item [S].
        chosen: the positions that count in this step [S, T].
        negatives: items outside the training history [N].
        preference_from: the first target index that may read the preference text.
    """

    items: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    chosen: npt.NDArray[np.bool_]
    negatives: npt.NDArray[np.int32]
    preference_from: int = 0

    @property
    def num_samples(self) -> int:
        """Positions that count."""
        return int(self.chosen.sum())


@dataclass(frozen=True)
class LocalSteps:
    """How a client's round is cut into local steps.

    Attributes:
        seed: the run's, from which segments, batches and negatives are drawn.
        max_seq_len: longest context L, in items.
        epochs: passes over the client's data.
        training: how segments are cropped, how large batches are, and how many negatives there are.
    """

    seed: int
    max_seq_len: int
    epochs: int
    training: TrainingConfig

    @classmethod
    def of(cls, config: ExperimentConfig) -> "LocalSteps":
        """Pick what this takes of a configuration."""
        return cls(config.seed, config.model.max_seq_len, config.federated.local_epochs, config.training)

    def count(self, data: ClientDataset) -> int:
        """Count the local steps of a client's round; every position of its history is a target once per epoch."""
        size = self.training.batch_size
        return self.epochs * (1 if size is None else -(-len(data.history) // size))

    def draw(self, round_number: int, user: int, data: ClientDataset, *, cropped: bool = True) -> Iterator[LocalStep]:
        """Draw every local step of a client's round; segments are cropped at random unless they are not to be."""
        training = self.training
        probability = training.crop_probability if cropped else 0.0
        boundary = preference_boundary(len(data.history))
        for epoch in range(self.epochs):
            rng = numpy_generator(self.seed, "client", round_number, user, epoch)
            segments = data.segments(self.max_seq_len, probability, rng)
            items = segments.items[:, : segments.length.max()]
            for chosen in _batches(items > 0, training.batch_size, rng):
                heed()
                rows = chosen.any(1)
                negatives = data.negatives(training.num_negatives, rng)
                yield LocalStep(items[rows], segments.start[rows], chosen[rows], negatives, preference_from=boundary)


def _batches(
    valid: npt.NDArray[np.bool_], batch_size: int | None, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield masks [S, T] of the positions of each local step: all at once, or shuffled groups of ``batch_size``."""
    if batch_size is None:
        yield valid
        return
    positions = rng.permutation(np.flatnonzero(valid))
    for first in range(0, len(positions), batch_size):
        chosen = np.zeros(valid.size, bool)
        chosen[positions[first : first + batch_size]] = True
        yield chosen.reshape(valid.shape)
