"""``fedmem bench``: speed, as ratios against a named peer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.options import AsJson
from cli.screen import answer_json, answers, notes, stages

app = typer.Typer(help="Measure speed, as ratios against a named peer.", no_args_is_help=True)


@dataclass(frozen=True)
class Goal:
    """One line of the table."""

    name: str
    what: str
    goal: str
    met: bool


@app.command()
def simulate(
    data: Annotated[Path | None, typer.Option(metavar="PATH", help="ML-100K; found by itself, or generated.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Write benchmarks/results/simulate.json too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the speed of simulated training, in about three minutes."""
    from benchmarks import simulate as benchmark
    from fedmem.data.formats import load_dataset

    place = data or benchmark.find_movielens()
    if place is None:
        notes.print("ML-100K is not here: its users are generated. Fetch it by fedmem data fetch ml-100k")
    dataset = None if place is None else load_dataset(place)
    with stages() as advance:
        record = benchmark.simulate(dataset, advance=advance)
    goals = [
        Goal(name, benchmark.WHAT[name], f"{'≥' if name in benchmark.AT_LEAST else '≤'} {goal:g}", met)
        for name, goal in benchmark.GOALS.items()
        for met in [benchmark.is_met(name, record[name])]
    ]
    _show("simulate", record, f"simulated training, {record['data']}", goals, keep=keep, as_json=as_json)


@app.command()
def serve(
    keep: Annotated[bool, typer.Option("--keep", help="Write benchmarks/results/serve.json too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the speed of recommendations, in about four minutes."""
    from benchmarks import serve as benchmark

    with stages() as advance:
        record = benchmark.serve(advance=advance)
    goals = [
        Goal(name, benchmark.WHAT[name], f"≤ {goal:g}", benchmark.is_met(name, record[name]))
        for name, goal in benchmark.GOALS.items()
    ]
    _show("serve", record, "serving", goals, keep=keep, as_json=as_json)


@app.command()
def topk(
    items: Annotated[int, typer.Option(min=1000, help="How many items the catalogue has.")] = 1_000_000,
    keep: Annotated[bool, typer.Option("--keep", help="Write benchmarks/results/topk.json too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure how much of the exact top 10 FAISS finds in a large catalogue, and in what share of the time."""
    from benchmarks import topk as benchmark

    with stages() as advance:
        record = benchmark.top_k(items, advance=advance)
    found, goal = record["recall"], benchmark.RECALL_GOAL
    goals = [
        Goal("recall", "share of the exact top 10 found", f"≥ {goal:g}", found >= goal),
        Goal("ratio", "time per query, of the exact product", "< 1", record["ratio"] < 1),
    ]
    title = f"FAISS among {items:,} items, {record['probes']} cells searched"
    _show("topk", record, title, goals, keep=keep, as_json=as_json)


def _show(
    name: str, record: Mapping[str, Any], title: str, goals: Sequence[Goal], *, keep: bool, as_json: bool
) -> None:
    """Write what was measured to benchmarks/results, if wanted, and print it as JSON or beside its goals."""
    from benchmarks.measure import write_result

    if keep:
        notes.print(f"kept in {write_result(name, record)}")
    if as_json:
        answer_json(record)
        return
    table = Table(title=title, title_justify="left")
    for column in ("", "measured", "goal", "met"):
        table.add_column(column, justify="right" if column else "left")
    for one in goals:
        table.add_row(f"{one.name}: {one.what}", f"{record[one.name]:.3g}", one.goal, "yes" if one.met else "no")
    answers.print(table)
