"""Whether a weight of the transition memory by user beats one number, on validation alone.

    python -m benchmarks.fusion_weight runs/ml-1m

Half of the users choose, by what validation asks of them, and the other half is measured; then the other way round, in
three draws of halves. Against the one number out of ``transitions.strengths``: one for each third of history lengths,
one for each third of the spread of the model's own scores, and gates α(u) = softplus(w · f(u) + v) by gradient descent
on the cross-entropy, where f are length and spread, or the user's state too. Nothing is trained but the gates.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.measure import machine, write_result
from benchmarks.stored_scores import Ranks, StoredScores, batches, loaded
from fedmem.evaluation.evaluate import hidden_items, known_prefix, target_item
from fedmem.memory.transitions import TransitionTable
from fedmem.serving import Recommender

DRAWS = 3
STEPS, RATE, DECAY = 150, 0.03, (1e-3, 1e-1)  # of the gates: decay of those of two numbers, of those of the state
Floats = npt.NDArray[np.float64]
Weights = Callable[[npt.NDArray[np.bool_]], Floats]


def gains(ranks: Ranks) -> Floats:
    """Compute each user's NDCG@10 [U]."""
    return np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0.0)


class Study:
    """One run's validation, and the ways to weigh.

    Args:
        recommender: the run's best model.
    """

    def __init__(self, recommender: Recommender) -> None:
        assert recommender.scorer.transitions is not None, "as loaded"
        self.recommender = recommender
        self.table: TransitionTable = recommender.scorer.transitions
        self.scores = StoredScores.of(recommender, "validation")
        self.strengths = recommender.config.transitions.strengths
        users = len(self.scores.users)
        grid = [gains(self.scores.ranks(self.table, np.full(users, strength))) for strength in self.strengths]
        self.grid: Floats = np.stack(grid)  # [S, U]
        self.length = np.log(self.scores.lengths())
        self.spread = np.log(self.scores.dense[:, 1:].std(1, dtype=np.float64))

    def ways(self) -> dict[str, Weights]:
        """List the ways by name; each takes who chooses [U] and gives every user's weight [U]."""
        plain = standard(np.stack([self.length, self.spread], 1))
        state = np.concatenate([plain, standard(self._states())], 1)
        return {
            "one number": lambda chooses: self._best(chooses, np.zeros(len(chooses), int)),
            "by history length": lambda chooses: self._best(chooses, thirds(self.length)),
            "by spread of scores": lambda chooses: self._best(chooses, thirds(self.spread)),
            "gate of both": lambda chooses: self._gate(chooses, plain, DECAY[0]),
            "gate of the state": lambda chooses: self._gate(chooses, state, DECAY[1]),
        }

    def _best(self, chooses: npt.NDArray[np.bool_], groups: npt.NDArray[np.int64]) -> Floats:
        """Give each group the number that is best for those of it who choose."""
        weights = np.zeros(len(chooses))
        for group in np.unique(groups):
            total = self.grid[:, chooses & (groups == group)].sum(1)
            weights[groups == group] = self.strengths[int(total.argmax())]
        return weights

    def _states(self) -> Floats:
        users = [batch.tolist() for batch in batches(self.scores.users)]
        data, found = self.recommender.dataset, []
        for batch in users:
            known = [known_prefix(data, user, "validation") for user in batch]
            contexts = [self.recommender.context(user, history) for user, history in zip(batch, known, strict=True)]
            found.append(self.recommender.scorer.queries(contexts, known).numpy())
        states: Floats = np.concatenate(found).astype(np.float64)
        return states

    def _gate(self, chooses: npt.NDArray[np.bool_], features: Floats, decay: float) -> Floats:
        """Fit the gate to those who choose."""
        dense, read, target = self._tensors(chooses)
        inputs = torch.from_numpy(features).float()
        weights, start = torch.zeros(features.shape[1], requires_grad=True), torch.tensor(-1.5, requires_grad=True)
        adam = torch.optim.Adam([weights, start], RATE)
        mine = inputs[torch.from_numpy(chooses)]
        for _ in range(STEPS):
            strength = torch.nn.functional.softplus(mine @ weights + start)
            loss = torch.nn.functional.cross_entropy(dense + strength[:, None] * read, target)
            adam.zero_grad()
            (loss + decay * weights.square().sum()).backward()
            adam.step()
        with torch.no_grad():
            found: Floats = torch.nn.functional.softplus(inputs @ weights + start).double().numpy()
        return found

    def _tensors(self, chooses: npt.NDArray[np.bool_]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gather both parts of the scores of those who choose, without what is not offered, and what they took."""
        data, places = self.recommender.dataset, chooses.nonzero()[0]
        users = self.scores.users[places].tolist()
        dense = torch.from_numpy(self.scores.dense[places])
        for row, user in zip(dense, users, strict=True):
            row[torch.from_numpy(hidden_items(data, user, "validation").astype(np.int64))] = -1e9
        dense[:, 0] = -1e9
        read = torch.from_numpy(self.table.scores([known_prefix(data, user, "validation") for user in users]))
        return dense, read, torch.tensor([target_item(data, user, "validation") for user in users])

    def measure(self, weigh: Weights, draw: int) -> Floats:
        """Compute NDCG@10 of every user [U], chosen for by the other half."""
        users = len(self.scores.users)
        first = np.random.default_rng(draw).permutation(users) < users // 2
        strengths = np.where(first, weigh(~first), weigh(first))
        return gains(self.scores.ranks(self.table, strengths))


def standard(values: Floats) -> Floats:
    """Centre and scale columns."""
    found: Floats = (values - values.mean(0)) / np.maximum(values.std(0), 1e-9)
    return found


def thirds(values: Floats) -> npt.NDArray[np.int64]:
    """Number the third that each value is in."""
    return np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values)


def main() -> None:
    """Print NDCG@10 of each way, and the paired difference to one number with its standard error over the users."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run directory")
    run = parser.parse_args().run
    study, rows = Study(loaded(run)), {}
    one: Floats | None = None
    for name, weigh in study.ways().items():
        found = np.mean([study.measure(weigh, draw) for draw in range(DRAWS)], 0)
        one = found if one is None else one
        more = found - one
        rows[name] = {"ndcg": found.mean(), "gain": more.mean(), "error": more.std() / len(more) ** 0.5}
        sys.stdout.write(f"{name:>20}: {found.mean():.4f} {more.mean():+.4f} ± {rows[name]['error']:.4f}\n")
        sys.stdout.flush()
    name = study.recommender.dataset.name
    path = write_result(f"fusion_weight-{name}", {"run": run.name, "rows": rows, "machine": machine()})
    sys.stdout.write(f"kept in {path}\n")


if __name__ == "__main__":
    main()
