"""``fedmem bench``: speed, as ratios against a named peer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks import serve, topk
from benchmarks.measure import write_result
from benchmarks.simulate import AT_LEAST, GOALS, WHAT, find_movielens, is_met, simulate
from cli.screen import answer_json, answers, notes, stages
from fedmem.data.formats import load_dataset


def run_simulate(data: Path | None, *, keep: bool, as_json: bool) -> None:
    """Measure P1, P3, P4 and P5 and print them beside their goals."""
    place = data or find_movielens()
    if place is None:
        notes.print("ML-100K is not here: its users are generated. Fetch it by fedmem data fetch ml-100k")
    dataset = None if place is None else load_dataset(place)
    with stages() as advance:
        record = simulate(dataset, advance=advance)
    if keep:
        notes.print(f"kept in {write_result('simulate', record)}")
    if as_json:
        answer_json(record)
        return
    goals = [
        Goal(name, WHAT[name], f"{'≥' if name in AT_LEAST else '≤'} {goal:g}", is_met(name, record[name]))
        for name, goal in GOALS.items()
    ]
    _print_table(f"simulated training, {record['data']}", goals, record)


def run_serve(*, keep: bool, as_json: bool) -> None:
    """Measure the serving ratios and print them beside their goals."""
    with stages() as advance:
        record = serve.serve(advance=advance)
    if keep:
        notes.print(f"kept in {write_result('serve', record)}")
    if as_json:
        answer_json(record)
        return
    goals = [
        Goal(name, serve.WHAT[name], f"≤ {goal:g}", serve.is_met(name, record[name]))
        for name, goal in serve.GOALS.items()
    ]
    _print_table("serving", goals, record)


def run_topk(items: int, *, keep: bool, as_json: bool) -> None:
    """Measure FAISS behind the ranking of a large catalogue and print recall and ratio."""
    with stages() as advance:
        record = topk.top_k(items, advance=advance)
    if keep:
        notes.print(f"kept in {write_result('topk', record)}")
    if as_json:
        answer_json(record)
        return
    goals = [
        Goal(
            "recall",
            "share of the exact top 10 found",
            f"≥ {topk.RECALL_GOAL:g}",
            record["recall"] >= topk.RECALL_GOAL,
        ),
        Goal("ratio", "time per query, of the exact product", "< 1", record["ratio"] < 1),
    ]
    _print_table(f"FAISS among {items:,} items, {record['probes']} cells searched", goals, record)


@dataclass(frozen=True)
class Goal:
    """One line of the table."""

    name: str
    what: str
    goal: str
    met: bool


def _print_table(title: str, goals: list[Goal], record: Mapping[str, Any]) -> None:
    table = Table(title=title, title_justify="left")
    for name in ("", "measured", "goal", "met"):
        table.add_column(name, justify="left" if not name else "right")
    for one in goals:
        met = "yes" if one.met else "no"
        table.add_row(f"{one.name}: {one.what}", f"{record[one.name]:.3g}", one.goal, met)
    answers.print(table)
