"""Real Flower processes on loopback: a SuperLink, three SuperNodes, of which one is killed."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fedmem.experiment import TrainingRun
from fedmem.nodes.flower_courier import FlowerCourier
from fedmem.nodes.flower_settings import FlowerSettings
from tests.nodes.conftest import FIVE_ROUNDS, SHARDS, shard
from tests.nodes.equal import assert_equal_runs
from tests.ports import free_port
from tests.tiny import tiny_config, tiny_dataset, tiny_snapshot

COMMANDS = Path(__file__).parents[2] / ".venv-flower" / "bin"

pytestmark = pytest.mark.skipif(
    not (COMMANDS / "flower-superlink").exists(), reason="Flower's environment is not there: make flower"
)


class Flower:
    """The processes, by name; ``link`` is the SuperLink."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.ports = {name: free_port() for name in SHARDS}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start one of them, in a group of its own."""
        place = ["--insecure", "--host", "127.0.0.1"]
        if name == "link":
            command = [
                "flower-superlink",
                *place,
                "--port",
                str(self.port),
                "--disable-runtime-dependency-installation",
            ]
        else:
            data, store = shard(tiny_dataset(), self.folder / f"{name}.csv", SHARDS[name]), self.folder / name
            told = f'name="{name}" data="{data}" store="{store}"'
            command = ["flower-supernode", *place, "--port", str(self.ports[name]), "--node-config", told]
            command += ["--superlink", f"127.0.0.1:{self.port}"]
        quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "OMP_NUM_THREADS": "1"}
        env = {
            **os.environ,
            **quiet,
            "PATH": f"{COMMANDS}:{os.environ['PATH']}",
            "FLWR_HOME": str(self.folder / "home"),
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=env, start_new_session=True)

    def kill(self, name: str) -> None:
        """Kill one of them, and whatever it has started, without a word."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def flower(folder: Path) -> Iterator[Flower]:
    """Start all of them, and leave none behind."""
    running = Flower(folder)
    try:
        for name in ("link", *SHARDS):
            running.start(name)
        yield running
    finally:
        for name in list(running.processes):
            running.kill(name)


@pytest.mark.timeout(1_800)  # some minutes of processes that start; no machine without Flower's environment pays them
def test_five_rounds_by_flower_equal_the_simulation_though_a_node_is_killed(tmp_path):
    nodes = {"minimum_nodes": 3, "patience": 300}
    together = tiny_snapshot(tiny_config(federated=FIVE_ROUNDS), preferences=False)
    config = tiny_config(federated=FIVE_ROUNDS, engine="flower", flower=nodes)
    apart = tiny_snapshot(config, tiny_dataset().catalogue(), preferences=False)
    with flower(tmp_path) as running:
        courier = FlowerCourier(FlowerSettings(superlink=f"127.0.0.1:{running.port}", flower_env=COMMANDS.parent))
        with (
            closing(TrainingRun.start(tmp_path / "simulated", together)) as simulated,
            closing(TrainingRun.start(tmp_path / "nodes", apart, courier=courier)) as run,
        ):
            rounds = run.rounds

            def interrupted():
                for report in rounds():
                    if report.round == 1:
                        running.kill("berlin")
                        running.start("berlin")
                    yield report

            run.rounds = interrupted
            assert_equal_runs(simulated, run)
