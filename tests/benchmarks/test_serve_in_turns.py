"""The serving benchmark in turns: each side's medians are compared, and sides take turns to be first."""

import json
from pathlib import Path

from benchmarks import serve_in_turns
from benchmarks.serve import WHAT
from benchmarks.serve_in_turns import compared, in_turns


def record(value: float, errors: float = 0.0) -> dict[str, float]:
    return dict.fromkeys(WHAT, value) | {"r9_errors": errors}


def test_rows_are_compared_by_their_medians_and_no_error_is_averaged_away():
    rows = compared([record(1.0), record(9.0), record(2.1)], [record(2.0), record(2.0, 3), record(2.0)])
    assert rows.keys() == WHAT.keys()
    assert rows["r4"] == {"after": 2.1, "before": 2.0, "ratio": 1.05}
    assert rows["r9_errors"] == {"after": 0.0, "before": 3}
    assert json.loads(json.dumps(rows)) == rows


def test_both_sides_are_first_in_turn(monkeypatch):
    asked = []
    monkeypatch.setattr(serve_in_turns, "measure", lambda folder: asked.append(folder.name) or record(1.0))
    found = in_turns(Path("now"), Path("then"), 2)
    assert asked == ["then", "now", "now", "then"]
    assert {side: len(runs) for side, runs in found.items()} == {"after": 2, "before": 2}
