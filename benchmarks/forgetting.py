"""What a model still tells of users who were deleted: membership inference before, after, and on a model without them.

    python -m benchmarks.forgetting --data data/ml-100k

Users are drawn who will be deleted, and as many whom no model is trained on. Told apart are the former from the latter
(AUC, .5 is chance, with a 95 % interval over users), of

before      a model that was trained on the former
erased      the same after they were erased from its run, as ``DELETE /users/{id}`` does
more        the erased run trained on for --more rounds
without     a model that was trained without them

by the weights' probability of each history ("probability"), the same less that of a model that an attacker trained on
all other users ("calibrated"), and by the share of its neighbouring pairs in the sums of transitions ("pairs"). "item"
tells each deleted user's last item trained on from the held-out one after it. Runs are kept in --out and taken up
again. Writes benchmarks/results/forgetting-NAME.json.
"""

import argparse
import dataclasses
import shutil
import sys
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import machine, write_result
from fedmem.attacks.membership_inference import log_probabilities
from fedmem.attacks.user_membership import by_pairs, by_probability
from fedmem.checkpoint import RunDirectory
from fedmem.checkpoint.erasure import erase_users
from fedmem.config import ExperimentConfig
from fedmem.config_reader import load_config
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats import load_dataset
from fedmem.experiment import TrainingRun
from fedmem.features.inference import one_thread
from fedmem.federated.scoring import ModelScorer
from fedmem.federated.start import build_model
from fedmem.federated.state import ServerState
from fedmem.randomness import numpy_generator
from fedmem.snapshot import take_snapshot

Users = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
Figures = dict[str, list[float]]
FORGETTING_SEED = 17  # draws who is deleted


@dataclass(frozen=True, eq=False)
class Judge:
    """Tells deleted users from those whom no model was trained on.

    Attributes:
        config: the runs' configuration.
        dataset: all users.
        deleted: the ones.
        others: the others.
        reference: the attacker's own scores of both, by a model of all other users.
    """

    config: ExperimentConfig
    dataset: FederatedDataset
    deleted: Users
    others: Users
    reference: tuple[Scores, Scores]

    def figures(self, directory: RunDirectory, state: ServerState) -> Figures:
        """Measure every attack on a model: AUC and the ends of its interval."""
        scorer = scorer_of(self.config, directory, state)
        deleted, others = (by_probability(scorer, self._histories(users)) for users in (self.deleted, self.others))
        assert state.transitions is not None, "the default method has them"
        pairs = (by_pairs(state.transitions, self._histories(users)) for users in (self.deleted, self.others))
        return {
            "probability": with_interval(deleted, others),
            "calibrated": with_interval(deleted - self.reference[0], others - self.reference[1]),
            "pairs": with_interval(*pairs),
            "item": with_interval(*self._items(scorer)),
        }

    def _items(self, scorer: ModelScorer) -> tuple[Scores, Scores]:
        histories = self._histories(self.deleted)
        held_out = [self.dataset.validation_target(user) for user in self.deleted.tolist()]
        last = log_probabilities(scorer, [h[:-1] for h in histories], [int(h[-1]) for h in histories])
        return last, log_probabilities(scorer, histories, held_out)

    def _histories(self, users: Users) -> list[npt.NDArray[np.int32]]:
        return [self.dataset.training_history(user) for user in users.tolist()]


def scorer_of(config: ExperimentConfig, directory: RunDirectory, state: ServerState) -> ModelScorer:
    """Score by the weights alone."""
    features = directory.read_snapshot().features
    model = build_model(config, directory.read_snapshot().dataset.num_items, features, state.averaged)
    return ModelScorer(model, state.global_memory)


def with_interval(members: Scores, others: Scores) -> list[float]:
    """Compute the AUC and its 95 % interval (DeLong, DeLong and Clarke-Pearson, 1988)."""
    above = (members[:, None] > others) + 0.5 * (members[:, None] == others)
    variance = above.mean(1).var(ddof=1) / len(members) + above.mean(0).var(ddof=1) / len(others)
    area, margin = float(above.mean()), 1.96 * float(variance) ** 0.5
    return [area, max(0.0, area - margin), min(1.0, area + margin)]


def trained(config: ExperimentConfig, dataset: FederatedDataset, path: Path) -> RunDirectory:
    """Train a run, or what is left of one."""
    there = RunDirectory(path).exists
    run = TrainingRun.resume(path, config) if there else TrainingRun.start(path, take_snapshot(config, dataset))
    with closing(run):
        for _ in run.rounds():
            pass
    return run.directory


def copied(run: RunDirectory, path: Path) -> RunDirectory:
    """Copy a run to where none is."""
    if not path.exists():
        shutil.copytree(run.path, path)
    return RunDirectory(path)


def best_of(run: RunDirectory) -> ServerState:
    """Read the model that serves."""
    return run.checkpoints.read_server(run.read_record().best)


def without(dataset: FederatedDataset, *users: Users) -> FederatedDataset:
    """Leave users out of training."""
    return dataclasses.replace(dataset, cold_users=np.sort(np.concatenate(users)))


def measured(config: ExperimentConfig, dataset: FederatedDataset, out: Path, number: int, more: int) -> dict[str, Any]:
    """Train the models, erase the users, and attack each."""
    rng = numpy_generator(FORGETTING_SEED, "forgotten users")
    deleted, others = rng.choice(dataset.trainable_users, (2, number), replace=False)
    base, rest = trained(config, without(dataset, others), out / "before"), without(dataset, deleted, others)
    peer = trained(config, rest, out / "without")
    attacker = trained(config.model_copy(update={"seed": config.seed + 1}), rest, out / "attacker")
    erased = copied(base, out / "erased")
    erase_users(erased.path, ids_of(dataset, deleted))
    later = _trained_on(config, erased, out / "more", more)
    own = scorer_of(config, attacker, best_of(attacker))
    histories = ([dataset.training_history(user) for user in users.tolist()] for users in (deleted, others))
    judge = Judge(config, dataset, deleted, others, tuple(by_probability(own, some) for some in histories))  # type: ignore[arg-type]
    last = later.checkpoints.read_server(later.read_record().last)
    figures = {
        "before": judge.figures(base, best_of(base)),
        "erased": judge.figures(erased, best_of(erased)),
        "more": judge.figures(later, last),
        "without": judge.figures(peer, best_of(peer)),
    }
    rounds = {"best": best_of(base).round, "without": best_of(peer).round, "more": last.round}
    return {"deleted": number, "rounds": rounds, "figures": figures}


def ids_of(dataset: FederatedDataset, users: Users) -> Collection[str]:
    """Look the users' ids up."""
    return [dataset.vocabulary.users[user] for user in users.tolist()]


def _trained_on(config: ExperimentConfig, erased: RunDirectory, path: Path, more: int) -> RunDirectory:
    """Train a copy of the erased run on, by so many rounds beyond those that it had."""
    run = copied(erased, path)
    until = erased.read_record().last + more
    federated = config.federated.model_copy(update={"num_rounds": until, "patience": until})
    return trained(config.model_copy(update={"federated": federated}), run.read_snapshot().dataset, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="ML-100K, or another data set")
    parser.add_argument("--out", type=Path, default=Path("runs/forgetting"))
    parser.add_argument("--config", type=Path, help="a configuration; without it the default one")
    parser.add_argument("--users", type=int, default=150, help="how many are deleted")
    parser.add_argument("--more", type=int, default=200, help="rounds that are trained after the erasure")
    chosen = parser.parse_args(arguments)
    config, dataset = load_config(chosen.config, []), load_dataset(chosen.data)
    with one_thread():
        found = measured(config, dataset, chosen.out / dataset.name, chosen.users, chosen.more)
    for name, figures in found["figures"].items():
        told = "  ".join(f"{attack} {a:.3f} ({low:.3f}..{high:.3f})" for attack, (a, low, high) in figures.items())
        sys.stdout.write(f"{name:>8}: {told}\n")
    kept = write_result(f"forgetting-{dataset.name}", {**found, "more": chosen.more, "machine": machine()})
    sys.stdout.write(f"kept in {kept}\n")


if __name__ == "__main__":
    main()
