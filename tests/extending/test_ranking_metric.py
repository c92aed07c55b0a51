"""The recipe of a ranking metric: two files, and it is measured, reported and titled."""

from pathlib import Path

from tests.extending.recipes import recipe


def test_a_ranking_metric_is_two_files(tmp_path: Path) -> None:
    found = recipe("A ranking metric")
    assert len(found.changes) <= 2
    source = found.carry_out(tmp_path)
    table = source.train(evaluation={"metrics": ["HR", "MRR", "RBP"], "k_list": [10, 29]})["test"]
    assert list(table) == ["HR@10", "HR@29", "MRR", "RBP"]
    assert 0 < table["RBP"] < 0.2
    assert source.run("ranking_title.py", "RBP") == "Rank-biased precision (0 to 0.2)"
