"""Secure sums over real Flower nodes, one of which is killed within a round, and what crosses from another's wire."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socket import create_connection, create_server, socket

import numpy as np
import pytest
from scipy import stats

from fedmem.experiment import TrainingRun
from fedmem.nodes.letter import Letter
from tests.end_to_end.flower_processes import Flower, flower, needs_flower
from tests.nodes.conftest import SHARDS
from tests.nodes.equal import assert_equal_runs
from tests.nodes.secured import ALL_DRAWN, nodes_of, secured_snapshots
from tests.tiny import tiny_config
from tests.waiting import until

pytestmark = [needs_flower, pytest.mark.timeout(1_800)]
ROUNDS = {**ALL_DRAWN, "num_rounds": 3}


@contextmanager
def wire_to(port: int) -> Iterator[tuple[int, bytearray]]:
    """A port that passes everything on to another, and what was sent to it."""
    sent = bytearray()

    def pass_on(source: socket, target: socket, kept: bytearray) -> None:
        while content := _received(source):
            kept += content
            target.sendall(content)
        target.close()

    def serve(listener: socket) -> None:
        while True:
            try:
                node = listener.accept()[0]
            except OSError:
                return
            try:
                link = create_connection(("127.0.0.1", port))
            except OSError:  # it has not started yet
                node.close()
                continue
            for ends in ((node, link, sent), (link, node, bytearray())):
                threading.Thread(target=pass_on, args=ends, daemon=True).start()

    with create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1], sent


def _received(source: socket) -> bytes:
    try:
        return source.recv(1 << 16)
    except OSError:
        return b""


def kill_within_the_next_round(running: Flower, killed: list[str]) -> None:
    """Kill a node once it has begun to train for a sum, and start it again."""

    def begun() -> bool:
        return any(json.loads(path.read_text())["stage"] == "masked" for path in _sums(running.folder))

    def watch() -> None:
        until(begun, "a sum of berlin's", 900.0)
        running.kill("berlin")
        killed.append("berlin")
        running.start_node("berlin")

    threading.Thread(target=watch, daemon=True).start()


def _sums(folder: Path) -> list[Path]:
    return list(folder.glob("berlin/*/secure_sum.json"))


def in_the_clear(folder: Path) -> list[bytes]:
    """Rows of parameters that amsterdam would send in the first round, were sums not secure."""
    _, apart = secured_snapshots(federated=ROUNDS, secure_sums={"enabled": False})
    courier = nodes_of(folder, SHARDS)
    with closing(TrainingRun.start(folder / "run", apart, courier=courier)) as run:
        next(run.rounds())
    letters = [Letter.from_bytes(content) for name, content in courier.sent if name == "amsterdam"]
    changes = [x for letter in letters for name, x in letter.arrays.items() if name.startswith("delta/")]
    return [row.tobytes() for x in changes for row in x.reshape(-1, x.shape[-1]) if row.any() and row.nbytes >= 16]


def test_rounds_by_flower_equal_the_simulation_though_a_node_is_killed_and_the_wire_says_nothing(tmp_path):
    together, apart = secured_snapshots(federated=ROUNDS)
    config = apart.config.model_copy(
        update={"flower": tiny_config(flower={"minimum_nodes": 3, "patience": 300}).flower}
    )
    masked: list[bytes] = []
    killed: list[str] = []
    with flower(tmp_path) as running, wire_to(running.port) as (port, wire):
        for name in SHARDS:
            running.start_node(name, more=["--superlink", f"127.0.0.1:{port}"] if name == "amsterdam" else [])
        courier = running.courier()
        exchange = courier.exchange

        def kept(letters, patience):
            for number, answer in exchange(letters, patience):
                if isinstance(answer, Letter) and answer.facts.get("node") == "amsterdam":
                    masked.extend(x.tobytes() for name, x in answer.arrays.items() if name != "trainable")
                yield number, answer

        courier.exchange = kept
        snapshot = type(apart)(**{**vars(apart), "config": config})
        with (
            closing(TrainingRun.start(tmp_path / "simulated", together)) as simulated,
            closing(TrainingRun.start(tmp_path / "nodes", snapshot, courier=courier)) as run,
        ):
            rounds = run.rounds

            def interrupted():
                for report in rounds():
                    if report.round == 1:
                        kill_within_the_next_round(running, killed)
                    yield report

            run.rounds = interrupted
            assert_equal_runs(simulated, run, ("nodes", "bytes"))
        assert killed == ["berlin"]
        assert len(masked) > 3 * 3
        assert all(words[:64] in wire and words[-64:] in wire for words in masked), "they cross as they are"
        assert not any(row in wire for row in in_the_clear(_made(tmp_path / "clear")))
    words = np.frombuffer(b"".join(masked), np.uint8)
    assert stats.chisquare(np.bincount(words, minlength=256)).pvalue > 1e-9, "one run in a billion"


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
