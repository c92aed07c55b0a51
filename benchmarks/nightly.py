"""A month of nights on ML-100K by its real times: a model that is continued each night, beside one trained anew.

    python -m benchmarks.nightly --data PATH_TO_ML_100K [--out runs/nightly] [--keep]

Each of the data's last 30 days (UTC) is predicted from what was there the night before: every interaction of a user on
the day, at most 20 evenly drawn, from the user's history up to it. Three models answer: ``continued`` went on from the
night before's for some rounds on the newest data, ``anew`` was trained on the newest data from scratch, ``kept`` is
that of the first night as it was. Each counts among its transitions what its own snapshot holds, and nothing that came
later. The gate of promotion is left out.

What is done is not done again, so that an interrupted benchmark goes on; ended early, it has models that were trained
anew on some days only, which are spread over the month. ``--report`` tells of what is there. CPU minutes are those of
the training, in one thread, its texts from the cache.
"""

import json
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import keeping_parser, machine, tell
from fedmem.checkpoint import RunDirectory
from fedmem.config import ExperimentConfig
from fedmem.config_reader import validate_config
from fedmem.continuation import carried_over
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats import read_dataset
from fedmem.data.interactions import Interactions
from fedmem.evaluation.bootstrap import bootstrap
from fedmem.evaluation.metric_table import metric_values
from fedmem.evaluation.ranking_metrics import target_rank
from fedmem.experiment import TrainingRun
from fedmem.features.inference import one_thread
from fedmem.serving import Recommender, TransferredScorer
from fedmem.snapshot import take_snapshot

DAYS, DAY = 30, 86_400
MOST_TARGETS = 20  # of a user and day
METRICS = ("HR@10", "NDCG@10")
MODELS = ("continued", "anew", "kept")
STRIDE = 7  # nights between two that are trained anew one after the other: ended early, they are spread over the month


class Month:
    """The nights of one data set, with the models that were trained in them.

    Args:
        data: the folder of ML-100K.
        out: where models and results are kept.
        rounds_anew: of a model that is trained from scratch.
        rounds: of a night in which a model goes on.
    """

    def __init__(self, data: Path, out: Path, rounds_anew: int, rounds: int) -> None:
        self.interactions, self.items = read_dataset(data)
        self.out, self.rounds_anew, self.rounds = out, rounds_anew, rounds
        self.end = (int(self.interactions.timestamps.max()) // DAY + 1) * DAY

    def before(self, day: int) -> FederatedDataset:
        """Return the data as of the night before a day of 1..30."""
        rows, until = self.interactions, self.end - (DAYS + 1 - day) * DAY
        there = rows.timestamps < until
        seen = Interactions(rows.users[there], rows.items[there], rows.timestamps[there])
        return FederatedDataset.from_interactions(seen, self.items, name="ml-100k")

    def train_anew(self, day: int) -> None:
        """Train from scratch in the night before a day."""
        self._train(day, "anew", config_of(self.rounds_anew), None)

    def train_on(self, day: int) -> None:
        """Let the model of the night before that go on."""
        source = self.folder("anew" if day == 2 else "continued", day - 1)
        best = RunDirectory(source).read_record().best
        self._train(day, "continued", config_of(best + self.rounds), (source, best))

    def _train(self, day: int, model: str, config: ExperimentConfig, source: tuple[Path, int] | None) -> None:
        folder = self.folder(model, day)
        if (folder / "night.json").exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        dataset, began = self.before(day), time.process_time()
        like = None if source is None else RunDirectory(source[0]).read_snapshot()
        snapshot = take_snapshot(config, dataset.configured(config.data), like=like)
        with closing(TrainingRun.start(folder, snapshot)) as run:
            if source is not None:
                run.take_up(carried_over(RunDirectory(source[0]), source[1], snapshot))
            rounds = sum(1 for _ in run.rounds())
            night = {"cpu_seconds": time.process_time() - began, "best": run.record.best, "last": run.record.last}
        night |= {"kept_old": source is not None and run.record.best == source[1], "reports": rounds}
        (folder / "night.json").write_text(json.dumps(night), encoding="utf-8")

    def folder(self, model: str, day: int) -> Path:
        """Name the run directory of a model's night."""
        return self.out / f"{model}-{day:02d}"

    def night(self, model: str, day: int) -> dict[str, Any]:
        """Read what a night's training took."""
        found: dict[str, Any] = json.loads((self.folder(model, day) / "night.json").read_text(encoding="utf-8"))
        return found

    def ranks(self, model: str, day: int) -> dict[str, list[float]]:
        """Rank a day's interactions, by user id; measured once."""
        path = self.out / f"ranks-{model}-{day:02d}.json"
        if not path.exists():
            folder = self.folder("anew", 1) if model == "kept" else self.folder(model, day)
            answering = Recommender.load(folder).with_held_out()
            path.write_text(json.dumps(self._ranks(answering, day)), encoding="utf-8")
        found: dict[str, list[float]] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def _ranks(self, answering: Recommender, day: int) -> dict[str, list[float]]:
        after = self.before(day + 1)
        scorer, found = TransferredScorer(answering, after), {}
        for user, places in self._targets(self.before(day), after):
            history = after.history(user)
            known = [history[:place] for place in places]
            scores = scorer.score(np.full(len(places), user), known)
            found[after.vocabulary.user_id(user)] = target_rank(scores, history[places], known).tolist()
        return found

    def _targets(
        self, before: FederatedDataset, after: FederatedDataset
    ) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """Yield the users of a day, and which places of their histories came on it."""
        for user, user_id in enumerate(after.vocabulary.users):
            known = before.vocabulary.find_user(user_id)
            first, end = 0 if known is None else int(before.lengths[known]), int(after.lengths[user])
            if end > first:
                yield user, np.unique(np.linspace(first, end - 1, min(end - first, MOST_TARGETS)).astype(np.int64))

    @cached_property
    def days(self) -> list[int]:
        """The days in whose night both are trained, in the order in which they are trained anew."""
        return [day for first in range(2, 2 + STRIDE) for day in range(first, DAYS + 1, STRIDE)]


def config_of(rounds: int) -> ExperimentConfig:
    """Return the default configuration with so many rounds."""
    return validate_config({"federated": {"num_rounds": rounds}, "features": {"image": "off"}}, "the benchmark")


def run(month: Month) -> None:
    """Train and measure all that is missing."""
    month.train_anew(1)
    for day in range(2, DAYS + 1):
        month.train_on(day)
        month.ranks("continued", day), month.ranks("kept", day)
    for day in month.days:
        month.train_anew(day)
        month.ranks("anew", day)


def record(month: Month) -> dict[str, Any]:
    """Compare the models on the days that they have predicted; one trained anew may be missing on some."""
    every = [day for day in month.days if (month.out / f"ranks-continued-{day:02d}.json").exists()]
    anew = [day for day in every if (month.out / f"ranks-anew-{day:02d}.json").exists()]
    return {
        "rounds": {"anew": month.rounds_anew, "continued": month.rounds},
        "days_with_all_models": compared(month, sorted(anew), MODELS),
        "all_days": compared(month, sorted(every), ("continued", "kept")),
        "cpu_minutes_a_night": {"continued": minutes(month, "continued", every), "anew": minutes(month, "anew", anew)},
        "nights_in_which_the_old_model_stayed_the_best": sum(
            month.night("continued", day)["kept_old"] for day in every
        ),
        "machine": machine(),
    }


def compared(month: Month, days: list[int], models: tuple[str, ...]) -> dict[str, Any]:
    """Return means with 95 % intervals, users and days drawn independently, and the differences of each pair."""
    values = {model: matrices(month, model, days) for model in models}
    rng, first = np.random.default_rng(0), values[models[0]][METRICS[0]]
    return {
        "days": days,
        "users_and_days": int((~np.isnan(first)).sum()),
        "users": first.shape[1],
        "interactions": sum(len(ranks) for day in days for ranks in month.ranks(models[0], day).values()),
        "quality": {
            model: {metric: asdict(bootstrap([found], rng)[0]) for metric, found in by_metric.items()}
            for model, by_metric in values.items()
        },
        "differences": {
            f"{one} - {other}": {
                metric: asdict(bootstrap([values[one][metric] - values[other][metric]], rng)[0]) for metric in METRICS
            }
            for one, other in combinations(models, 2)
        },
    }


def minutes(month: Month, model: str, days: list[int]) -> dict[str, float]:
    """Return what a night's training took of one processor."""
    seconds = [month.night(model, day)["cpu_seconds"] for day in days]
    return {"median": round(statistics.median(seconds) / 60, 2), "most": round(max(seconds) / 60, 2)}


def matrices(month: Month, model: str, days: list[int]) -> dict[str, npt.NDArray[np.float64]]:
    """Return each metric's mean of a user's targets by day and user [days, U], NaN where a user did nothing."""
    by_day = [month.ranks(model, day) for day in days]
    users = sorted({user for ranks in by_day for user in ranks})
    return {
        metric: np.array(
            [
                [metric_values(metric, np.array(ranks[user])).mean() if user in ranks else np.nan for user in users]
                for ranks in by_day
            ]
        )
        for metric in METRICS
    }


def main() -> None:
    """Train and measure what is missing, and tell."""
    parser = keeping_parser("nightly", __doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/nightly"))
    parser.add_argument("--rounds-anew", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--report", action="store_true", help="train nothing more; tell of what is there")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with one_thread():
        month = Month(asked.data, asked.out, asked.rounds_anew, asked.rounds)
        if not asked.report:
            run(month)
        tell("nightly", record(month), asked.keep)


if __name__ == "__main__":
    main()
