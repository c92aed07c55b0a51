"""``fedmem bench``: speed, as ratios against a named peer."""

from pathlib import Path

from rich.table import Table

from benchmarks.measure import write_result
from benchmarks.simulate import AT_LEAST, GOALS, WHAT, find_movielens, is_met, simulate
from fedmem.cli.screen import answer_json, answers, notes, stages
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
    table = Table(title=f"simulated training, {record['data']}", title_justify="left")
    for name in ("", "measured", "goal", "met"):
        table.add_column(name, justify="left" if not name else "right")
    for name, goal in GOALS.items():
        sign = "≥" if name in AT_LEAST else "≤"
        met = "yes" if is_met(name, record[name]) else "no"
        table.add_row(f"{name}: {WHAT[name]}", f"{record[name]:.3g}", f"{sign} {goal:g}", met)
    answers.print(table)
