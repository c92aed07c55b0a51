"""Flower with certificates and keys behind nginx, as docs/deployment.md shows it: who takes part, and who does not."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedmem.experiment import TrainingRun
from fedmem.nodes.letter import Letter
from tests.end_to_end.flower_processes import Certificates, Flower, flower, needs_flower
from tests.end_to_end.proxies import as_shown, nginx, nginx_with
from tests.ports import free_port
from tests.tiny import tiny_config, tiny_dataset, tiny_snapshot
from tests.waiting import until

pytestmark = [needs_flower, pytest.mark.timeout(1_800)]
ONE_ROUND = {"num_rounds": 1, "client_fraction": 0.5, "server_warmup_steps": 2, "chunk_size": 3}


@dataclass(frozen=True)
class Secured:
    """A SuperLink with certificates on loopback, nginx before it, and one node that is registered."""

    flower: Flower
    own: Certificates
    foreign: Certificates


@pytest.fixture(scope="module")
def secured(tmp_path_factory) -> Iterator[Secured]:
    nginx()
    folder, at = tmp_path_factory.mktemp("secured"), free_port()
    own, foreign = Certificates.made(folder / "own"), Certificates.made(folder / "foreign")
    with flower(folder, own, at) as running, nginx_with(folder, _proxy(running, own, at), at):
        until(lambda: running.ask("supernode", "list")["success"], "the SuperLink")
        assert running.ask("supernode", "register", f"{own.key_of('amsterdam')}.pub")["success"]
        running.start_node("amsterdam", _as("amsterdam", own))
        until(running.online, "the registered node")
        yield Secured(running, own, foreign)


def _proxy(running: Flower, own: Certificates, at: int) -> str:
    files = {f"/etc/fedmem/{name}": own[name] for name in ("server.pem", "server.key", "ca.crt")}
    places = {"listen 9443 ssl;": f"listen 127.0.0.1:{at} ssl;", "127.0.0.1:9092": f"127.0.0.1:{running.port}"}
    return as_shown("deployment.md", {**files, **places})


def _as(name: str, found: Certificates) -> list[str]:
    return ["--root-certificates", found["ca.crt"], "--auth-supernode-private-key", found[f"{name}.key"]]


def test_a_round_is_trained_with_the_registered_node(secured, tmp_path):
    nodes = {"minimum_nodes": 1, "patience": 300}
    config = tiny_config(federated=ONE_ROUND, engine="flower", flower=nodes)
    snapshot = tiny_snapshot(config, tiny_dataset().catalogue(), preferences=False)
    courier = secured.flower.courier(Path(secured.own["ca.crt"]))
    with closing(TrainingRun.start(tmp_path / "run", snapshot, courier=courier)) as run:
        assert list(run.population.roster.members) == ["amsterdam"]
        (report,) = run.rounds()
        assert (report.metrics["nodes"], report.metrics["nodes_missing"]) == (1.0, 0.0)
        assert run.server.state.transitions.taken.sum() > 0


@pytest.mark.parametrize(
    ("stranger", "said"),
    [
        ("unknown-key", "Failed to activate SuperNode"),
        ("no-key", "All SuperNodes must be registered"),
        ("foreign-authority", "CERTIFICATE_VERIFY_FAILED"),
    ],
)
def test_a_node_that_does_not_belong_ends_and_takes_no_part(stranger, said, secured):
    running, own = secured.flower, secured.own
    options = {
        "unknown-key": lambda: ["--root-certificates", own["ca.crt"], "--auth-supernode-private-key", own.key_of("x")],
        "no-key": lambda: ["--root-certificates", own["ca.crt"]],
        # The key of the registered node: whoever has it is shown nothing before the certificate is checked.
        "foreign-authority": lambda: ["--root-certificates", secured.foreign["ca.crt"], *_as("amsterdam", own)[2:]],
    }
    before = running.online()
    running.start_node(stranger, options[stranger]())
    assert until(lambda: running.processes[stranger].poll(), "the stranger's end") > 0
    assert said in running.log(stranger)
    assert running.online() == before


def test_a_node_without_encryption_takes_no_part(secured):
    running = secured.flower
    before = running.online()
    running.start_node("plain")
    until(lambda: running.log("plain").count("Connection attempt failed") > 2, "that it tries in vain")
    assert running.online() == before
    running.kill("plain")


def test_a_trainer_with_another_authoritys_certificate_reaches_nothing(secured, caplog):
    courier = secured.flower.courier(Path(secured.foreign["ca.crt"]))
    with closing(courier):
        assert courier.nodes() == []
    assert "does not take the app" in caplog.text


def test_an_owner_who_admits_signed_apps_alone_does_not_admit_ours(secured):
    running, own = secured.flower, secured.own
    signer, admitted = own.key_of("signer", "ed25519"), Path(own["admitted.yaml"])
    admitted.write_text(f"fpk_signer: '{Path(f'{signer}.pub').read_text().strip()}'\n")
    assert running.ask("supernode", "register", f"{own.key_of('cadiz')}.pub")["success"]
    before = running.online()
    running.start_node("cadiz", _as("cadiz", own), ["--trusted-entities", str(admitted)])
    (number,) = until(lambda: set(running.online()) - set(before), "the node")
    with closing(running.courier(Path(own["ca.crt"]))) as courier:
        until(lambda: int(number) in courier.nodes(), "the app")
        ((_, answer),) = courier.exchange({int(number): Letter({"kind": "hello", "run": "a run"})}, 300)
    assert "could not be verified" in answer
    running.kill("cadiz")


def test_the_proxy_passes_no_order(secured):
    running = secured.flower
    key = secured.own.key_of("by-the-proxy")
    for order in (["supernode", "register", f"{key}.pub"], ["supernode", "list"], ["list"]):
        assert not running.ask(*order, port=running.at)["success"]
    assert running.ask("supernode", "register", f"{key}.pub")["success"], "past the proxy it is taken"
