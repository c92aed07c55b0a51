"""The recipe of an aggregation: two files, and clients count once instead of by their samples."""

from pathlib import Path

from tests.extending.recipes import recipe


def test_an_aggregation_is_two_files(tmp_path: Path) -> None:
    found = recipe("An aggregation")
    assert len(found.changes) <= 2
    source = found.carry_out(tmp_path)
    fedavg, uniform = source.train_each(
        *({"federated": {"aggregation_method": method, "num_rounds": 1}} for method in ("fedavg", "uniform"))
    )
    assert uniform["weights"] != fedavg["weights"]
    assert uniform["rounds"] == fedavg["rounds"]  # the same clients measure the same model
