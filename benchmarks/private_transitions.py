"""How much of the transition memory's gain is left when it is released once with noise, against epsilon.

    python -m benchmarks.private_transitions runs/ml-1m

The dense scores of a run's best model, and tables of all its clients' training histories: nothing is trained. Of every
table the weight is chosen on validation, from one grid for all; test is read for the weight that was chosen. Noise of
several seeds; for ten and a hundred times as many users it is divided by so much. Delta is 1e-6.

Beside that, without reading pairs as others like them: "threshold", the noisy sums above three deviations; and two that
no release can be, which say where the gain is: "above noise" and "below noise", the exact sums of pairs that are
greater than the noise's deviation, and of the others. Writes benchmarks/results/private_transitions-NAME.json.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from benchmarks.measure import machine, write_result
from benchmarks.stored_scores import StoredScores, batches, loaded
from fedmem.evaluation.evaluate import Split, hidden_items, known_prefix, target_item
from fedmem.memory.transitions import UNIT, TransitionCounts, TransitionTable
from fedmem.modality import Modality
from fedmem.privacy.accountant import noise_multiplier
from fedmem.privacy.transition_release import NoisySums, release
from fedmem.serving import Recommender

DELTA = 1e-6
EPSILONS = (8.0, 4.0, 2.0, 1.0)
USERS = (1, 10, 100)
STRENGTHS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
Found = dict[float, float]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """One split of a run, with what is read of a table.

    Attributes:
        dense: the model's scores, hidden items and item 0 far below all [U, I + 1].
        reads: weights by which each user reads rows [U, I + 1].
        targets: what is looked for [U].
    """

    dense: npt.NDArray[np.float32]
    reads: sparse.csr_array
    targets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, recommender: Recommender, table: TransitionTable, split: Split) -> "Evaluated":
        """Gather it."""
        stored, data = StoredScores.of(recommender, split), recommender.dataset
        dense, users = stored.dense, stored.users.tolist()
        for row, user in zip(dense, users, strict=True):
            row[hidden_items(data, user, split)] = -1e9
        dense[:, 0] = -1e9
        read = [table.sources(known_prefix(data, user, split)) for user in users]
        rows = np.repeat(np.arange(len(users)), [len(items) for items, _ in read])
        items, weights = (np.concatenate(column) for column in zip(*read, strict=True))
        reads = sparse.coo_array((weights, (rows, items)), shape=dense.shape).tocsr()
        return cls(dense, reads, np.array([target_item(data, user, split) for user in users]))

    def ndcg(self, table: TransitionTable | None, strengths: tuple[float, ...] = STRENGTHS) -> Found:
        """Compute NDCG@10 at every weight; without a table at one, 0."""
        strengths = (0.0,) if table is None else strengths
        rows = None if table is None else _dense(table)
        total = np.zeros(len(strengths))
        for users in batches(np.arange(len(self.targets))):
            scores, place = self.dense[users], (np.arange(len(users)), self.targets[users])
            read = np.zeros_like(scores) if rows is None else self.reads[users] @ rows
            spread = read[:, 1:].std(1, keepdims=True)
            read /= np.where(spread > 0, spread, 1)
            for each, strength in enumerate(strengths):
                fused = scores + np.float32(strength) * read
                target = fused[place][:, None]
                rank = 1 + (fused > target).sum(1) + ((fused == target).sum(1) - 1) / 2
                total[each] += np.where(rank <= 10, 1 / np.log2(rank + 1), 0).sum()
        return dict(zip(strengths, (total / len(self.targets)).tolist(), strict=True))


def _dense(table: TransitionTable) -> npt.NDArray[np.float32]:
    rows = np.zeros((len(table.items), len(table.items)), np.float32)
    np.put_along_axis(rows, table.items.astype(np.int64), table.weights, 1)
    rows[:, 0] = 0
    return rows


def thresholded(noisy: NoisySums) -> TransitionCounts:
    """Keep the noisy sums above three deviations of the noise."""
    rows = [noisy.rows(block) for block in noisy.blocks()]
    sums = np.concatenate([np.zeros_like(rows[0][:1]), *rows])  # item 0 has no row
    pairs = sparse.csr_array(np.rint(UNIT * np.where(sums > 3 * noisy.deviation, sums, 0)).astype(np.int64))
    return TransitionCounts(pairs, np.rint(noisy.popularity).astype(np.int64))


def parted(noisy: NoisySums) -> dict[str, TransitionCounts]:
    """Part the exact sums of pairs by whether they are greater than the noise's deviation."""
    exact = noisy.counts.pairs
    above = exact.multiply(exact.toarray() / UNIT > noisy.deviation).tocsr()
    taken = np.rint(noisy.popularity).astype(np.int64)
    return {"above noise": TransitionCounts(above, taken), "below noise": TransitionCounts(exact - above, taken)}


def main() -> None:
    """Print the share of the gain that is kept, on validation and on test, with its spread over the noise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("--window", type=int, default=3, help="most steps of a transition that is released")
    parser.add_argument("--seeds", type=int, default=3, help="draws of the noise")
    parser.add_argument("--users", type=int, nargs="+", default=USERS, help="times as many users")
    chosen = parser.parse_args()
    recommender = loaded(chosen.run)
    data, config = recommender.dataset, recommender.config.transitions
    handed_on = recommender.trained.transitions
    assert handed_on is not None, "as loaded"
    exact = TransitionTable.of(handed_on.counts, config)
    splits = {split: Evaluated.of(recommender, exact, split) for split in ("validation", "test")}
    texts = recommender.trained.snapshot.features.vectors.get(Modality.TEXT)
    histories = [data.training_history(user) for user in data.trainable_users.tolist()]
    bounded = TransitionCounts.of(histories, data.num_items, chosen.window, bounded=True)
    base = {split: each.ndcg(None)[0.0] for split, each in splits.items()}

    def measured(table: TransitionTable) -> dict[str, float]:
        found = splits["validation"].ndcg(table)
        best = max(sorted(found), key=found.__getitem__)
        test = splits["test"].ndcg(table, (best,))[best]
        return {"strength": best, "validation": found[best], "test": test}

    full = measured(exact)
    rows: list[dict[str, Any]] = [{"epsilon": None, "users": 1, **full}]
    sys.stdout.write(f"model alone {base}; with all transitions, exactly {full}\n")
    for users in chosen.users:
        for epsilon in EPSILONS:
            multiplier = noise_multiplier(epsilon, DELTA) / users
            tables = (
                release(bounded, None if texts is None else texts.rows, config, multiplier, seed)
                for seed in range(chosen.seeds)
            )
            found = [measured(TransitionTable.of(table, config)) for table in tables]
            kept = {s: [(one[s] - base[s]) / (full[s] - base[s]) for one in found] for s in base}
            rows += [{"epsilon": epsilon, "users": users, **one} for one in found]
            if users == 1:
                noisy = NoisySums(bounded, multiplier, 0)
                for form, counts in {"threshold": thresholded(noisy), **parted(noisy)}.items():
                    one = measured(TransitionTable.of(counts, config))
                    rows.append({"epsilon": epsilon, "users": users, "form": form, **one})
                    share = {split: (one[split] - base[split]) / (full[split] - base[split]) for split in base}
                    sys.stdout.write(f"    {form}: {', '.join(f'{s} {kept:.0%}' for s, kept in share.items())}\n")
            told = ", ".join(f"{s} {np.mean(v):.0%} ± {np.std(v):.0%}" for s, v in kept.items())
            sys.stdout.write(f"{users:>3} x users, epsilon {epsilon:g}: {told}; {[o['strength'] for o in found]}\n")
            sys.stdout.flush()
    record = {"run": chosen.run.name, "window": chosen.window, "delta": DELTA, "base": base, "rows": rows}
    path = write_result(f"private_transitions-{data.name}", {**record, "machine": machine()})
    sys.stdout.write(f"kept in {path}\n")


if __name__ == "__main__":
    main()
