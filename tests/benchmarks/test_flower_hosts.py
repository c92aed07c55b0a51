"""Lines between hosts on one machine: what they delay, lose and cut."""

import subprocess
import sys

import pytest

from benchmarks.flower.hosts import Hosts, possible
from tests.waiting import PATIENCE, until

# Answers each connection with what it was sent, until it is killed.
ECHO = """
import socket
listener = socket.create_server(("0.0.0.0", 7000))
print("listening", flush=True)
while True:
    caller, _ = listener.accept()
    with caller, caller.makefile("rwb") as stream:
        for line in stream:
            stream.write(line)
            stream.flush()
"""
# Sends so many lines of a size, and prints how long each took to come back.
ASK = """
import socket, sys, time
address, many, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with socket.create_connection((address, 7000)) as caller, caller.makefile("rwb") as stream:
    for number in range(many):
        sent, began = b"x" * size + b"\\n", time.monotonic()
        stream.write(sent)
        stream.flush()
        assert stream.readline() == sent
        print(time.monotonic() - began, flush=True)
"""


@pytest.fixture
def hosts():
    if not possible():
        pytest.skip("hosts on one machine need Linux, root and /dev/net/tun")
    with Hosts(["near", "far"]).connected() as made:
        command = made.on("centre", [sys.executable, "-c", ECHO])
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as echo:
            assert echo.stdout.readline()
            yield made
            echo.kill()


def ask(hosts: Hosts, name: str, many: int, size: int) -> "subprocess.Popen[str]":
    command = hosts.on(name, [sys.executable, "-c", ASK, hosts.centre_of(name), str(many), str(size)])
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def seconds(process: "subprocess.Popen[str]") -> list[float]:
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    return [float(line) for line in output.split()]


def test_an_answer_takes_twice_the_delay_at_least_and_all_arrives_though_packets_are_lost(hosts):
    line = hosts.lines["far"]
    line.delay, line.loss = 0.05, 0.05
    took = seconds(ask(hosts, "far", 5, 100_000))
    assert min(took) >= 0.1
    assert line.lost > 0
    assert min(line.carried) >= 500_000
    assert hosts.lines["near"].carried == [0, 0] or max(hosts.lines["near"].carried) < 10_000


def test_nothing_arrives_while_a_line_is_cut_and_then_all_does(hosts):
    line = hosts.lines["near"]
    with ask(hosts, "near", 1, 10) as first:
        assert len(seconds(first)) == 1
    line.cut = True
    carried = list(line.carried)
    with ask(hosts, "near", 1, 10) as second:
        until(lambda: line.lost > 1, "what is sent in vain")
        assert (second.poll(), line.carried) == (None, carried)
        line.cut = False
        assert len(seconds(second)) == 1


def test_one_host_does_not_reach_another(hosts):
    command = hosts.on("near", [sys.executable, "-c", ASK, hosts.centre_of("far"), "1", "1"])
    found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert found.returncode != 0
    assert "unreachable" in found.stderr
