"""Real Flower processes on loopback: a SuperLink, three SuperNodes, of which one is killed."""

from contextlib import closing

import pytest

from fedmem.experiment import TrainingRun
from tests.end_to_end.flower_processes import flower, needs_flower
from tests.nodes.conftest import FIVE_ROUNDS, SHARDS
from tests.nodes.equal import assert_equal_runs
from tests.tiny import tiny_config, tiny_dataset, tiny_snapshot

pytestmark = needs_flower


@pytest.mark.timeout(1_800)  # some minutes of processes that start; no machine without Flower's environment pays them
def test_five_rounds_by_flower_equal_the_simulation_though_a_node_is_killed(tmp_path):
    nodes = {"minimum_nodes": 3, "patience": 300}
    together = tiny_snapshot(tiny_config(federated=FIVE_ROUNDS), preferences=False)
    config = tiny_config(federated=FIVE_ROUNDS, engine="flower", flower=nodes)
    apart = tiny_snapshot(config, tiny_dataset().catalogue(), preferences=False)
    with flower(tmp_path) as running:
        for name in SHARDS:
            running.start_node(name)
        with (
            closing(TrainingRun.start(tmp_path / "simulated", together)) as simulated,
            closing(TrainingRun.start(tmp_path / "nodes", apart, courier=running.courier())) as run,
        ):
            rounds = run.rounds

            def interrupted():
                for report in rounds():
                    if report.round == 1:
                        running.kill("berlin")
                        running.start_node("berlin")
                    yield report

            run.rounds = interrupted
            assert_equal_runs(simulated, run)
