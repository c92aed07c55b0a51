"""Rounds of FedMem over Flower between hosts: without delay, with 50 ms and 1 % loss each way, and with a node cut off.

    python -m benchmarks.flower.over_network        # as root, on Linux, after `make flower`

SuperLink and trainer are on one host, three SuperNodes on one each (``hosts.py``). The demo's users are divided among
the nodes, ten are drawn a round. The runs take turns, and all have to end with the same model. A round's seconds are
those from one line of metrics to the next; their median leaves out the first round and the last, which has a
validation. A cut begins with the third.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.flower.hosts import Hosts, Line
from benchmarks.measure import FEDMEM, keeping_parser, machine, tell
from fedmem.checkpoint import RunDirectory
from fedmem.federated.state import ServerState

NODES = ("amsterdam", "berlin", "cadiz")
ROUNDS, CUT_AFTER = 6, 2
LINES = {"direct": (0.0, 0.0), "delayed": (0.05, 0.01), "cut": (0.05, 0.01)}  # seconds and loss, each way
CUT_SECONDS = 60.0
LOOK = 0.05
SETTINGS = (
    "engine=flower",
    "flower.minimum_nodes=3",
    f"federated.num_rounds={ROUNDS}",
    "federated.client_fraction=0.02",
    f"evaluation.eval_every={ROUNDS}",
    "fedmem.warmup_rounds=1",
    "features.text=off",
    "features.image=off",
)
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "OMP_NUM_THREADS": "1"}


@dataclass
class Measured:
    """What one run showed: when each round was there, and what its lines carried."""

    seconds: list[float] = field(default_factory=list)
    bytes_up: int = 0
    bytes_down: int = 0
    packets_lost: int = 0
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """Return the figures."""
        missed = {
            name: sum(line["metrics"][name] for line in self.metrics) for name in ("nodes_missing", "nodes_refused")
        }
        return {
            "round_seconds": [round(value, 2) for value in self.seconds],
            "median_round_seconds": round(statistics.median(self.seconds[1:-1]), 2),
            "bytes_up_a_round": self.bytes_up // ROUNDS,
            "bytes_down_a_round": self.bytes_down // ROUNDS,
            "packets_lost": self.packets_lost,
            **missed,
        }


def shards(data: Path, folder: Path) -> None:
    """Give each node a file of its own users, every third one."""
    rows = pd.read_csv(data / "interactions.csv", dtype=str)
    place = pd.factorize(rows["user_id"])[0] % len(NODES)
    for number, name in enumerate(NODES):
        rows[place == number].to_csv(folder / f"{name}.csv", index=False)


@contextmanager
def processes(hosts: Hosts, folder: Path, flower: Path) -> Iterator[None]:
    """Run a SuperLink at the centre and a SuperNode on each host."""
    common = ["--insecure", "--host", "127.0.0.1", "--port"]
    link = ["flower-superlink", "--insecure", "--disable-runtime-dependency-installation", "--host", "0.0.0.0"]
    with ExitStack() as stack:
        stack.enter_context(started(hosts.on("centre", [*link, "--port", "9092"]), folder / "link.log", flower))
        for name in NODES:
            told = f'name="{name}" data="{folder / name}.csv" store="{folder / name}-store"'
            node = ["flower-supernode", *common, "9100", "--superlink", f"{hosts.centre_of(name)}:9092"]
            command = hosts.on(name, [*node, "--node-config", told])
            stack.enter_context(started(command, folder / f"{name}.log", flower))
        yield


@contextmanager
def started(command: Sequence[str], log: Path, flower: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run one of Flower's commands, or one that uses them, and kill what is left of it in the end."""
    path = f"{flower.resolve() / 'bin'}:{os.environ['PATH']}"
    env = {**os.environ, **QUIET, "PATH": path, "FEDMEM_SUPERLINK": "127.0.0.1:9092", "FEDMEM_FLOWER_ENV": str(flower)}
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=env, start_new_session=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def train(hosts: Hosts, data: Path, out: Path, flower: Path, kind: str) -> Measured:
    """Train a run over lines of a kind; what it showed."""
    delay, loss = LINES[kind]
    for line in hosts.lines.values():
        line.delay, line.loss, line.carried, line.lost = delay, loss, [0, 0], 0
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    command = hosts.on("centre", [*FEDMEM, "train", "--data", str(data), "--out", str(out), *settings])
    found, cut = Measured(), hosts.lines["berlin"] if kind == "cut" else None
    with started(command, out.with_suffix(".log"), flower) as process:
        _follow(process, out / "metrics.jsonl", found, cut)
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}: {out.with_suffix('.log').read_text()[-2000:]}")
    lines = hosts.lines.values()
    found.bytes_up, found.bytes_down = (sum(line.carried[way] for line in lines) for way in (0, 1))
    found.packets_lost = sum(line.lost for line in lines)
    return found


def _follow(process: "subprocess.Popen[bytes]", path: Path, found: Measured, cut: Line | None) -> None:
    """Note when each round is there, until the run ends; cut a line for a while."""
    last, ends = time.monotonic(), None
    while process.poll() is None or len(_lines(path)) > len(found.metrics):
        now, lines = time.monotonic(), _lines(path)
        for line in lines[len(found.metrics) :]:
            found.seconds.append(now - last)
            found.metrics.append(line)
            last = now
        if cut is not None and ends is None and len(lines) >= CUT_AFTER:
            cut.cut, ends = True, now + CUT_SECONDS
        if cut is not None and ends is not None and now > ends:
            cut.cut = False
        time.sleep(LOOK)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def same(states: Sequence[ServerState]) -> bool:
    """Say whether all runs ended with the same model: parameters to 1e-6, transitions exactly."""
    first, *others = states
    return all(
        all(np.allclose(other.parameters[name], value, rtol=0, atol=1e-6) for name, value in first.parameters.items())
        and first.transitions is not None
        and other.transitions is not None
        and not (first.transitions.pairs != other.transitions.pairs).nnz
        and np.array_equal(first.transitions.taken, other.transitions.taken)
        for other in others
    )


def main() -> None:
    """Print the record as JSON; the exit code is 1 if two runs ended with different models."""
    parser = keeping_parser("flower_network", __doc__)
    parser.prog = "python -m benchmarks.flower.over_network"
    parser.add_argument("--flower-env", type=Path, default=Path(".venv-flower"))
    parser.add_argument("--pairs", type=int, default=2, help="how often each of both lines is measured")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # hosts and what runs on them are removed
    kinds = ["direct", "delayed"] * given.pairs + ["cut"]
    with tempfile.TemporaryDirectory() as name, Hosts(NODES).connected() as hosts:
        folder, states, records = Path(name), [], []
        subprocess.run([*FEDMEM, "data", "demo", "--out", str(folder / "demo")], check=True)
        shards(folder / "demo", folder)
        with processes(hosts, folder, given.flower_env):
            for number, kind in enumerate(kinds):
                out = folder / f"{number}-{kind}"
                found = train(hosts, folder / "demo", out, given.flower_env, kind)
                states.append(RunDirectory(out).read_best().server)
                records.append({"line": kind, **found.record()})
                sys.stderr.write(f"{json.dumps(records[-1])}\n")
    lines = {kind: {"seconds_each_way": delay, "loss_each_way": loss} for kind, (delay, loss) in LINES.items()}
    told = {"lines": lines, "cut_seconds": CUT_SECONDS, "cut_after_round": CUT_AFTER, "same_model": same(states)}
    tell("flower_network", {"machine": machine(), **told, "runs": records}, given.keep)
    sys.exit(not told["same_model"])


if __name__ == "__main__":
    main()
