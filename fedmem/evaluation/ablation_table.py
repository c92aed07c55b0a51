"""The table of what rungs and baselines reached.

It is a function of a record that is JSON throughout, so that it can be made again from ``ablation.json``.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from fedmem.evaluation.evaluate import Split
from fedmem.rungs import IDS_ONLY_TITLE, NO_TEXT_TITLE

Record = dict[str, Any]

SPLITS: tuple[Split, ...] = ("validation", "test")
SHOWN = ("HR@10", "NDCG@10")
NEW_ITEMS = "NDCG@20"  # among new items, of all that a user took
_NEW_USERS = "NDCG@10"


def as_markdown(record: Record) -> str:
    """Render the table, the recommended lists, the last model against the others, and a line on what it is of."""
    metrics = [f"{split} {metric}" for split in SPLITS for metric in SHOWN]
    head = ["model", *metrics, "best / last round", "KB down", "KB up", "minutes"]
    rows = [head, ["---"] * len(head), *(_row(model) for model in record["models"])]
    cold = (_new_user_rows(record.get("new_users", ())), _new_item_rows(record))
    tables = (rows, _list_rows(record["models"]), *cold, _difference_rows(record))
    return "\n".join([*(line for table in tables if table for line in (*_lines(table), "")), _legend(record)])


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in rows]


def _list_rows(models: Sequence[Record]) -> list[list[str]]:
    """Show what lists of ten are like on test, mean over seeds: coverage, share of the long tail, diversity."""
    found = {model["name"]: lists for model in models if (lists := [run.get("lists") for run in model["runs"]])[0]}
    if not found:
        return []
    columns = list(next(iter(found.values()))[0])
    head = ["lists of ten", *columns]
    body = [
        [name, *(_short(statistics.mean(one[c] for one in lists)) for c in columns)] for name, lists in found.items()
    ]
    return [head, ["---"] * len(head), *body]


def _new_user_rows(models: Sequence[Record]) -> list[list[str]]:
    """Show users who never trained by how many of their most recent interactions were given, mean over seeds."""
    if not models:
        return []
    numbers = list(models[0]["runs"][0]["by_interactions"])
    head = [f"new users' test {_NEW_USERS}", *(f"n = {number}" for number in numbers)]
    body = [
        [
            model["name"],
            *(_metric_cell([run["by_interactions"] for run in model["runs"]], n, _NEW_USERS) for n in numbers),
        ]
        for model in models
    ]
    return [head, ["---"] * len(head), *body]


def _new_item_rows(record: Record) -> list[list[str]]:
    """Show rankings of new items among themselves, and each model minus the regression on genres."""
    models = record.get("new_items", ())
    if not models:
        return []
    found = {row["model"]: row for row in record["differences"] if row["metric"] == NEW_ITEMS}
    other = next((row["other"] for row in found.values()), None)
    head = [f"new items' {NEW_ITEMS}", "mean", *([] if other is None else [f"minus {other}", "p"])]
    body = []
    for model in models:
        cells = [_metric_cell([{"new": run} for run in model["runs"]], "new", NEW_ITEMS)]
        if other is not None:
            cells += _difference_cells(found.get(model["name"]))
        body.append([model["name"], *cells])
    return [head, ["---"] * len(head), *body]


def _difference_cells(row: Record | None) -> list[str]:
    if row is None:
        return ["", ""]
    return [f"{row['mean']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})", f"{row['p']:.4f}"]


def _difference_rows(record: Record) -> list[list[str]]:
    """Show the last model minus each other one."""
    last = record["models"][-1]["name"]
    found = [row for row in record["differences"] if row["model"] == last and row["metric"] in SHOWN]
    if not found:
        return []
    head = [f"{last} minus", *(part for metric in SHOWN for part in (f"test {metric}", "p"))]
    cells: dict[str, list[str]] = {}
    for metric in SHOWN:
        for row in found:
            if row["metric"] == metric:
                cells.setdefault(row["other"], []).extend(_difference_cells(row))
    return [head, ["---"] * len(head), *([name, *row] for name, row in cells.items())]


def _row(model: Record) -> list[str]:
    runs = model["runs"]
    metrics = [_metric_cell(runs, split, metric) for split in SPLITS for metric in SHOWN]
    if "rounds" not in runs[0]:  # a baseline
        return [model["name"], *metrics, "", "", "", ""]
    rounds = ", ".join(f"{run['best_round']}/{run['rounds']}" for run in runs)
    minutes = statistics.mean(run["seconds"] for run in runs) / 60
    sent = [_kilobytes(runs, "down"), _kilobytes(runs, "up")]
    return [model["name"], *metrics, rounds if all(sent) else f"{rounds} epochs", *sent, f"{minutes:.1f}"]


def _metric_cell(runs: Sequence[Record], split: str, metric: str) -> str:
    """Format mean ± standard error over users or, for several seeds, the mean and the range over seeds."""
    found = [run[split][metric] for run in runs if metric in (run[split] or {})]
    means = [value["mean"] for value in found]
    if len(found) > 1:
        return f"{_short(statistics.mean(means))} ({_short(min(means))}–{_short(max(means))})"
    errors = [value["standard_error"] for value in found if value["standard_error"] is not None]
    return " ± ".join(map(_short, means + errors))


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _kilobytes(runs: Sequence[Record], direction: str) -> str:
    """Format weights and prototypes together, mean over seeds; empty if nothing is sent."""
    if any(run["bytes"] is None for run in runs):
        return ""
    totals = [sum(size for part, size in run["bytes"].items() if part.startswith(f"{direction}_")) for run in runs]
    return f"{statistics.mean(totals) / 1000:,.1f}"


def _legend(record: Record) -> str:
    dataset, commit = record["dataset"], record["commit"]
    seeds = dict.fromkeys(run["seed"] for model in record["models"] for run in model["runs"])
    without_texts = [model["name"] for model in record["models"] if model["name"] in (IDS_ONLY_TITLE, NO_TEXT_TITLE)]
    source = f"fedmem {record['fedmem']}, {f'commit {commit}, ' if commit else ''}{record['date']}"
    return (
        f"{dataset['name']} ({dataset['digest'][:12]}), {dataset['users']:,} users, seed {', '.join(map(str, seeds))}; "
        "full ranking, mean ± standard error over users, of several seeds mean (lowest–highest); differences are "
        "paired, with the 95 % interval and p of a bootstrap over users and seeds; where there are item texts all "
        f"models but {' and '.join([*without_texts, 'the baselines'])} read them; KB per client and round; {source}"
    )
