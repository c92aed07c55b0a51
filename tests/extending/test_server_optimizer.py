"""The recipe of a server optimiser: two files, and a run of it learns."""

from pathlib import Path

from tests.extending.recipes import recipe


def test_a_server_optimizer_is_two_files(tmp_path: Path) -> None:
    found = recipe("A server optimiser")
    assert len(found.changes) <= 2
    trained = found.carry_out(tmp_path).train(
        federated={"server_optimizer": "adagrad", "server_learning_rate": 0.05, "server_warmup_steps": 0}
    )
    losses = [report["recommendation_loss"] for report in trained["rounds"]]
    assert losses[-1] < losses[0] - 0.05
