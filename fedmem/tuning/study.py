"""The study of a search: what was tried, in Optuna's own SQLite file, so that it goes on after any death.

Every draw is seeded by (seed, trial, setting): an interrupted search tries what an uninterrupted one would have tried.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from fedmem import __version__
from fedmem.checkpoint.atomic_files import writing
from fedmem.config import ExperimentConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import CheckpointError, ConflictError
from fedmem.provenance import source_commit
from fedmem.randomness import numpy_generator
from fedmem.tuning.search_space import UNMOVED, Params, SearchSpace

Record = dict[str, Any]

# Before these many trials are through none is pruned, and none before this share of its validations.
UNPRUNED_TRIALS, UNPRUNED_SHARE = 4, 0.25
WEIGHED_TRIALS = 5  # of fewer nothing is said about which setting matters
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a study's folder, so that no second search writes into it.

    Raises:
        ConflictError: if another process does.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    with file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"{folder}: another fedmem tune is at work there. Wait for it, or choose another --out."
            ) from None
        yield


class TuningStudy:
    """One search: a configuration, a space around it, a data set; the best by validation."""

    def __init__(self, folder: Path, space: SearchSpace, dataset: FederatedDataset) -> None:
        self.folder, self.space, self.dataset = folder, space, dataset
        self.metric = space.base.evaluation.stopping_metric
        validations = space.base.federated.num_rounds // space.base.evaluation.eval_every
        pruner = MedianPruner(n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=round(UNPRUNED_SHARE * validations))
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            self._study = optuna.create_study(
                storage=URL.create("sqlite", database=str(folder / "study.db")).render_as_string(),
                study_name="fedmem",
                direction="maximize",
                pruner=pruner,
                load_if_exists=True,
            )
        except SQLAlchemyError as error:
            raise CheckpointError(f"{folder / 'study.db'}: cannot be used as a study's file ({error}).") from None
        self._refuse_another_search()
        if not self._study.trials and (own := space.base_params()) is not None:
            self._study.enqueue_trial(own)

    def _refuse_another_search(self) -> None:
        asked = {
            "data set": self.dataset.digest,
            "metric": self.metric,
            **{f"space {name}": values for name, values in self.space.record().items()},
            **{name: value for name, value in self.space.base.settings().items() if name not in UNMOVED},
        }
        before = self._study.user_attrs.get("asked")
        if before is None:
            self._study.set_user_attr("asked", asked)
            return
        for name in {**before, **asked}:
            if before.get(name) != asked.get(name):
                raise CheckpointError(
                    f"{self.folder}: the study's {name} was {before.get(name)!r} and is now {asked.get(name)!r}. Give "
                    "what it was started with, or another --out."
                )

    @property
    def ended(self) -> list[FrozenTrial]:
        """The trials that are through, in order."""
        return self._study.get_trials(deepcopy=False, states=ENDED)

    @property
    def best(self) -> FrozenTrial | None:
        """The best trial that went to its end."""
        complete = self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)

    @property
    def configurations(self) -> int:
        """How many different configurations were tried."""
        return len({str(sorted(trial.params.items())) for trial in self.ended})

    def plan(self, trials: int, baselines: Callable[[], Mapping[str, float]]) -> None:
        """Put down how many trials are wanted and, once, what they have to beat."""
        self._study.set_user_attr("planned", int(min(trials, self.space.count)))
        if "baselines" not in self._study.user_attrs:
            self._study.set_user_attr("baselines", dict(baselines()))

    def next_trial(self) -> Trial | None:
        """Return the trial that was interrupted, or else a new one; None if the whole space has been tried."""
        interrupted = self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        if not interrupted and self.configurations >= self.space.count:
            return None
        self._study.sampler = self._sampler(len(self.ended), 0)
        trial = Trial(self._study, interrupted[0]._trial_id) if interrupted else self._study.ask()
        for place, (name, values) in enumerate(self.space.values.items(), start=1):
            self._study.sampler = self._sampler(trial.number, place)
            values.suggest(trial, name)
        return trial

    def _sampler(self, number: int, place: int) -> TPESampler:
        drawn = numpy_generator(self.space.base.seed, "tuning", number, place).integers(2**32)
        return TPESampler(seed=int(drawn), multivariate=False)

    def tried_before(self, params: Params) -> FrozenTrial | None:
        """Find an earlier trial of the same values, which would only be repeated."""
        return next((trial for trial in self.ended if trial.params == params), None)

    def reported(self, trial: Trial) -> dict[int, float]:
        """Return a trial's metric by the number of the validation, as far as it has come."""
        return dict(self._frozen(trial).intermediate_values)

    def _frozen(self, trial: Trial) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[trial.number]

    def end(self, trial: Trial, reason: str | None = None, *, pruned: bool = False) -> None:
        """Put down how a trial ended: by its best validation, pruned, or failed for a reason."""
        values = self.reported(trial).values()
        if reason is None and not values:
            reason = "it ended before its first validation"
        if reason is not None:
            trial.set_user_attr("reason", reason)
            self._study.tell(trial, state=TrialState.FAIL)
        elif pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, max(values))

    def end_as(self, trial: Trial, before: FrozenTrial) -> None:
        """Put down that a trial ends as an earlier one of the same values did."""
        for step, value in before.intermediate_values.items():
            trial.report(value, step)
        self.end(trial, before.user_attrs.get("reason"), pruned=before.state == TrialState.PRUNED)

    def record(self) -> Record:
        """Return the study for a program to read, trials in order."""
        best = self.best
        return {
            "fedmem": __version__,
            "commit": source_commit(),
            "dataset": {"name": self.dataset.name, "digest": self.dataset.digest},
            "metric": self.metric,
            "seed": self.space.base.seed,
            "space": self.space.record(),
            "planned": self._study.user_attrs.get("planned"),
            "baselines": self._study.user_attrs.get("baselines", {}),
            "importance": self.importance(),
            "configurations": self.configurations,
            "trials": [_trial_record(trial) for trial in self.ended],
            "best": None if best is None else best.number,
            "seconds": sum((t.duration.total_seconds() for t in self.ended if t.duration), 0.0),
        }

    def importance(self) -> dict[str, float]:
        """Estimate how much of the variance of the values each setting makes, most first; nothing of few trials.

        Hutter et al. 2014, An efficient approach for assessing hyperparameter importance: trees by the search's seed.
        """
        complete = self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if len(complete) < WEIGHED_TRIALS or len({trial.value for trial in complete}) == 1:
            return {}
        evaluator = FanovaImportanceEvaluator(seed=self.space.base.seed)
        return dict(get_param_importances(self._study, evaluator=evaluator))

    def best_config(self) -> ExperimentConfig | None:
        """Return the configuration of the best trial."""
        best = self.best
        return None if best is None else self.space.config(best.params)


def _trial_record(trial: FrozenTrial) -> Record:
    values = trial.intermediate_values
    return {
        "number": trial.number,
        "state": _STATES[trial.state],
        "value": max(values.values(), default=None),
        "validations": [values[step] for step in sorted(values)],
        "params": trial.params,
        "reason": trial.user_attrs.get("reason"),
        "started": trial.datetime_start.isoformat(timespec="seconds") if trial.datetime_start else None,
    }
