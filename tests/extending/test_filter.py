"""The recipe of a recommendation filter: two files, and every route takes it, pages and batches included."""

import json
from pathlib import Path

from tests.extending.recipes import recipe
from tests.tiny import ITEMS

FROM = 2000


def test_a_filter_is_two_files(tmp_path: Path) -> None:
    found = recipe("A recommendation filter")
    assert len(found.changes) <= 3
    years = json.loads(found.carry_out(tmp_path).run("filtered_answers.py", str(FROM)))
    for route in ("known", "next", "history", "batch"):
        assert len(years[route]) == 3
        assert {year // 100 * 100 for year in years[route]} == {FROM}
    assert years["known"] == years["batch"]
    comedies = [1990 + index for index in range(1, ITEMS) if index % 2 == 0]
    assert years["with a category"]
    assert set(years["with a category"]) <= {year for year in comedies if year // 100 * 100 == FROM}
    assert "century" in years["refused"]
