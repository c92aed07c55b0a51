"""What sets runs apart, and whether their figures compare at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedmem.config import ExperimentConfig
from fedmem.errors import ConfigError, ConflictError
from fedmem.evaluation.metric_table import metric_names

# They decide who is ranked, and among what: figures under different ones are of different questions.
SPLIT = ("data.min_sequence_length", "data.cold_user_fraction", "data.repeats")


@dataclass(frozen=True)
class ComparedRun:
    """A run as it is compared.

    Attributes:
        name: as sentences call it, such as ``job 7``.
        dataset: the data set that it was trained and measured on.
        config: its configuration.
        snapshot: the digest of its data; None for a job that has not begun.
        start_from: the job that it continues, None for none.
    """

    name: str
    dataset: str
    config: ExperimentConfig
    snapshot: str | None = None
    start_from: int | None = None


@dataclass(frozen=True)
class RunComparison:
    """What was found of runs that compare.

    Attributes:
        metrics: the ranking metrics that all of them measure, in the order of tables.
        differences: what differs, a value for each run: settings by their dotted names, ``snapshot``, ``start_from``.
        note: what a reader of the figures must know, in a sentence; None where nothing stands in their way.
    """

    metrics: Sequence[str]
    differences: Mapping[str, Sequence[object]]
    note: str | None


def compare_runs(runs: Sequence[ComparedRun], metrics: Sequence[str] = ()) -> RunComparison:
    """Find what sets runs apart.

    Args:
        runs: two or more.
        metrics: those that are to be compared, such as ``NDCG@10``; all that the runs have in common where none is
            named.

    Raises:
        ConflictError: naming two of the runs, and why their figures do not compare: another data set, another split of
            it, or a metric that one of them does not measure.
        ConfigError: if there are fewer than two runs, or one of them twice.
    """
    names = [run.name for run in runs]
    if len(set(names)) < max(2, len(names)):
        raise ConfigError(f"{', '.join(names) or 'nothing'}: name two runs to compare, or more, and each once")
    first = runs[0]
    for run in runs[1:]:
        _refuse_other_questions(first, run)
    return RunComparison(_common_metrics(runs, metrics), _differences(runs), _note(runs))


def _refuse_other_questions(one: ComparedRun, other: ComparedRun) -> None:
    if one.dataset != other.dataset:
        raise ConflictError(
            f"{one.name} was trained on data set {one.dataset!r} and {other.name} on {other.dataset!r}: figures of "
            "different users and items do not compare"
        )
    before, after = one.config.settings(), other.config.settings()
    for key in _split_settings(one.config, other.config):
        if before[key] != after[key]:
            raise ConflictError(
                f"{key} is {before[key]!r} in {one.name} and {after[key]!r} in {other.name}, so that they rank "
                "different users or items, and their figures do not compare"
            )


def _split_settings(*configs: ExperimentConfig) -> Sequence[str]:
    """Name the settings that decide the split: the seed too, where it draws who is kept out of training."""
    draws = any(config.data.cold_user_fraction for config in configs)
    return (*SPLIT, "seed") if draws else SPLIT


def _common_metrics(runs: Sequence[ComparedRun], asked: Sequence[str]) -> list[str]:
    measured = {run.name: metric_names(run.config.evaluation.k_list, run.config.evaluation.metrics) for run in runs}
    common = [name for name in measured[runs[0].name] if all(name in found for found in measured.values())]
    for metric in asked:
        for name, found in measured.items():
            if metric not in found:
                raise ConflictError(
                    f"{name} does not measure {metric} (evaluation.metrics, evaluation.k_list); all of them measure "
                    f"{', '.join(common)}"
                )
    return list(dict.fromkeys(asked)) or common


def _differences(runs: Sequence[ComparedRun]) -> dict[str, Sequence[object]]:
    tables = [{"snapshot": run.snapshot, "start_from": run.start_from} | run.config.settings() for run in runs]
    values = {name: [table[name] for table in tables] for name in tables[0]}
    return {name: found for name, found in values.items() if any(value != found[0] for value in found[1:])}


def _note(runs: Sequence[ComparedRun]) -> str | None:
    """Say that runs were measured on different states of their data set, where they were."""
    first = next((run for run in runs if run.snapshot is not None), None)
    other = next((run for run in runs if first and run.snapshot not in (None, first.snapshot)), None)
    if first is None or other is None:
        return None
    return (
        f"{first.name} and {other.name} have different snapshots of {first.dataset!r}, and so other interactions to "
        "predict: part of the difference between their figures may be the data's"
    )
