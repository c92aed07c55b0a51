"""The experiments of `fedmem ablate` and `fedmem tune` in the installation's folder, each a folder with its result.

What is read is bounded, and one that is damaged is one entry that says so: the others stay to be seen.
"""

import json
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedmem.checkpoint.atomic_files import DAMAGE
from fedmem.contracts import (
    Ablation,
    Experiment,
    ExperimentPage,
    ExperimentSummary,
    Measured,
    MeasuredModel,
    NewItemRow,
    NewUserRow,
    Tuning,
    TuningTrial,
)
from fedmem.contracts.experiments import ExperimentKind, ExperimentState
from fedmem.errors import CheckpointError, UnknownError

FOLDER = "experiments"
ABLATION, STUDY, RUN = "ablation.json", "study.json", "run.json"
MOST, LARGEST, LONGEST = 200, 4 * 2**20, 255  # experiments that are listed; bytes of a result; of a name, letters
Record = Mapping[str, Any]


def list_experiments(data_dir: Path) -> ExperimentPage:
    """Look the newest experiments through, the one that changed last first.

    Raises:
        CheckpointError: if the folder cannot be read.
    """
    folders = _folders(data_dir)
    found = [read_folder(folder) for folder in folders[:MOST]]
    names = ExperimentSummary.model_fields
    summaries = tuple(ExperimentSummary(**{name: getattr(one, name) for name in names}) for one in found)
    return ExperimentPage(experiments=summaries, left_out=max(0, len(folders) - MOST))


def read_experiment(data_dir: Path, name: str) -> Experiment:
    """Read one experiment with what it holds.

    Raises:
        UnknownError: if there is none of this name.
        CheckpointError: as ``list_experiments``.
    """
    folder = next((folder for folder in _folders(data_dir) if folder.name == name), None)
    if folder is None:
        raise UnknownError(f"there is no experiment {name!r}: GET /experiments lists those that there are")
    return read_folder(folder)


def _folders(data_dir: Path) -> list[Path]:
    """List the experiments' folders, the one that changed last first; hidden ones are none."""
    folder = data_dir / FOLDER
    try:
        found = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and is_name(entry.name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read ({error.strerror})") from None
    return sorted(found, key=lambda one: (-_changed(one), one.name))


def is_name(name: str) -> bool:
    """Say whether a folder of this name is shown: not a hidden one, and not one with what no screen can show."""
    return 0 < len(name) <= LONGEST and name.isprintable() and "/" not in name and not name.startswith(".")


def _changed(folder: Path) -> float:
    """Return when its result was last written or, where there is none yet, when the folder was."""
    for path in (folder / ABLATION, folder / STUDY, folder):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def read_folder(folder: Path) -> Experiment:
    """Read what is in an experiment's folder; where that makes no sense, say so in its note."""
    file = None
    try:
        file = next((name for name in _KINDS if (folder / name).exists()), None)
        return _unfinished(folder) if file is None else _KINDS[file](folder.name, _record(folder / file))
    except (OSError, *DAMAGE) as error:
        note = f"{file or 'The folder'} cannot be read ({_reason(error)}). {_AGAIN}"
        return _without_result(folder.name, "damaged", note)


_AGAIN = "The command that began it, given again, writes it."


def _record(path: Path) -> Record:
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{size:,} bytes, more than the {LARGEST:,} that are read")
    found = json.loads(path.read_bytes())
    if not isinstance(found, dict):
        raise TypeError("not a JSON object")
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _unfinished(folder: Path) -> Experiment:
    if (folder / "study.db").exists():
        return _without_result(folder.name, "unfinished", f"No trial is through yet. {_GOES_ON}", "tuning")
    begun = sum((run / RUN).exists() for run in islice(folder.iterdir(), MOST))
    note = f"It has no table yet: {begun} of its runs {'is' if begun == 1 else 'are'} begun. {_GOES_ON}"
    return _without_result(folder.name, "unfinished", note, "ablation" if begun else None)


def _without_result(name: str, state: ExperimentState, note: str, kind: ExperimentKind | None = None) -> Experiment:
    nothing = dict.fromkeys(("dataset", "digest", "made_on", "commit", "configurations"))
    return Experiment(name=name, kind=kind, state=state, note=note, **nothing)


def _ablation(name: str, record: Record) -> Experiment:
    models = record["models"]
    runs = [run for model in models for run in model["runs"]]
    trained = {run["directory"].removesuffix(f"-{run['seed']}") for run in runs if "directory" in run}
    found = Ablation(
        users=record["dataset"]["users"],
        seeds=tuple(dict.fromkeys(run["seed"] for run in runs)),
        models=tuple(map(_model, models)),
        new_users=tuple(map(_new_users, record.get("new_users", ()))),
        new_items=tuple(map(_new_items, record.get("new_items", ()))),
        differences=record.get("differences", ()),  # of an earlier version there are none
    )
    return Experiment(
        name=name,
        kind="ablation",
        state="finished",
        note=None,
        dataset=record["dataset"]["name"],
        digest=record["dataset"]["digest"],
        made_on=record["date"],
        commit=record["commit"],
        configurations=len(trained),
        ablation=found,
    )


def _model(model: Record) -> MeasuredModel:
    runs: Sequence[Record] = model["runs"]
    trained = [run for run in runs if "rounds" in run]
    lists = [run["lists"] for run in runs if run.get("lists")]
    sent = [run["bytes"] for run in trained if run["bytes"] is not None]
    return MeasuredModel(
        name=model["name"],
        baseline=not trained,
        validation=measured([run["validation"] or {} for run in runs]),
        test=measured([run["test"] for run in runs]),
        best_rounds=tuple(run["best_round"] for run in trained),
        last_rounds=tuple(run["rounds"] for run in trained),
        minutes=statistics.mean(run["seconds"] for run in trained) / 60 if trained else None,
        bytes_down=_bytes(sent, "down_"),
        bytes_up=_bytes(sent, "up_"),
        lists={name: statistics.mean(one[name] for one in lists) for name in lists[0]} if lists else {},
    )


def _new_users(model: Record) -> NewUserRow:
    runs = [run["by_interactions"] for run in model["runs"]]
    numbers = dict.fromkeys(number for run in runs for number in run)
    rows = {number: measured([run[number] for run in runs if number in run]) for number in numbers}
    return NewUserRow(name=model["name"], by_interactions=rows)


def _new_items(model: Record) -> NewItemRow:
    metrics = measured([{name: value for name, value in run.items() if name != "seed"} for run in model["runs"]])
    return NewItemRow(name=model["name"], metrics=metrics)


def measured(tables: Sequence[Mapping[str, Record]]) -> dict[str, Measured]:
    """Put the seeds' metrics together, by name."""
    found: dict[str, list[Record]] = {}
    for table in tables:
        for name, value in table.items():
            found.setdefault(name, []).append(value)
    return {name: _over_seeds(values) for name, values in found.items()}


def _over_seeds(values: Sequence[Record]) -> Measured:
    means = [value["mean"] for value in values]
    errors = [value["standard_error"] for value in values if value["standard_error"] is not None]
    return Measured(
        mean=statistics.mean(means),
        standard_error=statistics.mean(errors) if errors else None,
        lowest=min(means),
        highest=max(means),
    )


def _bytes(sent: Sequence[Mapping[str, float]], direction: str) -> float | None:
    if not sent:
        return None
    return statistics.mean(sum(size for part, size in one.items() if part.startswith(direction)) for one in sent)


def _study(name: str, record: Record) -> Experiment:
    trials, planned = record["trials"], record.get("planned")
    through = planned is None or len(trials) >= planned
    days = [trial["started"][:10] for trial in trials if trial["started"]]
    found = Tuning(
        metric=record["metric"],
        planned=planned,
        trials=tuple(TuningTrial(**{key: trial[key] for key in _OF_A_TRIAL}) for trial in trials),
        best=record["best"],
        importance=record.get("importance", {}),
        baselines=record.get("baselines", {}),
        seconds=record["seconds"],
    )
    return Experiment(
        name=name,
        kind="tuning",
        state="finished" if through else "unfinished",
        note=None if through else f"{len(trials)} of {planned} trials are through. {_GOES_ON}",
        dataset=record["dataset"]["name"],
        digest=record["dataset"]["digest"],
        made_on=max(days, default=None),
        commit=record["commit"],
        configurations=record["configurations"],
        tuning=found,
    )


_OF_A_TRIAL = ("number", "state", "value", "params", "reason")
_GOES_ON = "The command that began it, given again, goes on."
_KINDS: Mapping[str, Callable[[str, Record], Experiment]] = {ABLATION: _ablation, STUDY: _study}
