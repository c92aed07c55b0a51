"""The manifests of ``deploy/kubernetes``: valid, whole, and in accord with the containers' file and the settings.

No cluster is asked. ``kubectl kustomize``, where it is installed, puts them together as a cluster would get them.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from pydantic_settings import BaseSettings

from tests.test_compose import PLACES, ROOT, SETTINGS, read, variables

FOLDER = ROOT / "deploy" / "kubernetes"
POSTGRES, ONCE = "postgres", "prepare"  # the latter is `migrate` in the containers' file
PODS = [POSTGRES, ONCE, *SETTINGS]
FILES = sorted(path.name for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml")
OF_LIBRARIES = {"PGPASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def valid(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def documents(name: str = "*.yaml") -> list[dict[str, Any]]:
    paths = [path for path in sorted(FOLDER.rglob(name)) if path.name != "kustomization.yaml"]
    return [document for path in paths for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def kustomization(folder: str = ".") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text(encoding="utf-8"))
    return found


def pod(name: str) -> dict[str, Any]:
    (found,) = [one["spec"]["template"] for one in documents(f"{name}.yaml") if "template" in one.get("spec", {})]
    assert found["metadata"]["labels"] == {"app": name}
    return dict(found["spec"])


def container(name: str) -> dict[str, Any]:
    (found,) = pod(name)["containers"]
    return dict(found)


def lines(name: str) -> dict[str, str]:
    """What a file of KEY=VALUE says."""
    text = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in text if line and not line.startswith("#"))


def literals() -> dict[str, str]:
    """What callers from outside the cluster need set."""
    (generator,) = kustomization("ingress")["configMapGenerator"]
    return dict(line.split("=", 1) for line in generator["literals"])


def in_compose(name: str) -> dict[str, Any]:
    file = "docker-compose.postgres.yml" if name == POSTGRES else "docker-compose.yml"
    return dict(read(file)["services"]["migrate" if name == ONCE else name])


@pytest.mark.parametrize("name", FILES)
def test_every_document_is_valid_in_the_newest_version(name):
    for document in documents(name):
        valid(document)


def test_a_key_that_kubernetes_does_not_know_is_noticed():
    (document,) = documents("volume.yaml")
    with pytest.raises(kubernetes_validate.ValidationError, match="storageclass"):
        valid({**document, "spec": {**document["spec"], "storageclass": "fast"}})


def test_every_file_is_applied():
    named = {*kustomization()["resources"], *kustomization("ingress")["resources"]}
    assert named == set(FILES)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_may_do_little(name):
    assert pod(name)["securityContext"]["runAsNonRoot"]
    assert pod(name)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(name)["automountServiceAccountToken"] is False
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    if name != POSTGRES:
        user = re.search(r"--uid (\d+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
        assert user
        assert str(pod(name)["securityContext"]["runAsUser"]) == user[1]


@pytest.mark.parametrize("name", PODS)
def test_no_address_of_a_service_is_taken_for_a_setting(name):
    assert pod(name)["enableServiceLinks"] is False


@pytest.mark.parametrize("name", PODS)
def test_a_container_states_what_it_takes(name):
    resources = container(name)["resources"]
    assert {"cpu", "memory"} == resources["requests"].keys()
    assert "memory" in resources["limits"]


@pytest.mark.parametrize("name", [ONCE, *SETTINGS])
def test_the_command_is_that_of_the_containers_file(name):
    assert container(name)["command"] == in_compose(name)["command"]
    assert container(name)["image"] == in_compose(name)["image"]


def test_the_database_is_that_of_the_containers_file():
    assert container(POSTGRES)["image"] == in_compose(POSTGRES)["image"]


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


@pytest.mark.parametrize("name", [POSTGRES, *SETTINGS])
def test_a_pod_is_watched_and_ended_as_the_containers_file_says(name):
    check, startup, living = (
        in_compose(name)["healthcheck"],
        *(container(name)[f"{n}Probe"] for n in ("startup", "liveness")),
    )
    for probe in (startup, living):
        assert (probe["periodSeconds"], probe["timeoutSeconds"]) == (
            seconds(check["interval"]),
            seconds(check["timeout"]),
        )
    assert living["failureThreshold"] == check["retries"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= seconds(check["start_period"])
    assert pod(name)["terminationGracePeriodSeconds"] == seconds(in_compose(name)["stop_grace_period"])
    assert asked(container(name), living) == asked_in_compose(check["test"][1:])


def asked(container: dict[str, Any], probe: dict[str, Any]) -> list[str]:
    if "exec" in probe:
        return list(probe["exec"]["command"])
    (port,) = [port for port in container["ports"] if port["name"] == probe["httpGet"]["port"]]
    return [f":{port['containerPort']}{probe['httpGet']['path']}"]


def asked_in_compose(command: list[str]) -> list[str]:
    if "-c" not in command:
        return command
    (address,) = re.findall(r"'(http://[^']+)'", command[-1])
    return [f":{urlsplit(address).port}{urlsplit(address).path}"]


def test_requests_end_before_the_backend_does():
    from backend.server import GRACE_SECONDS

    waits = container("backend")["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert waits + GRACE_SECONDS < pod("backend")["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_variable_is_a_setting_of_its_service(name):
    own = {entry["name"] for entry in container(name)["env"]} - OF_LIBRARIES
    assert own <= set(variables(SETTINGS[name]))
    assert container(name)["envFrom"] == [{"configMapRef": {"name": "settings"}}]


def test_what_is_set_for_all_is_a_setting_of_one():
    known = {variable for settings in SETTINGS.values() for variable in variables(settings)}
    assert {*lines("settings.env"), *literals()} <= known - PLACES


@pytest.mark.parametrize("outside", [False, True], ids=["inside the cluster", "by the ingress"])
@pytest.mark.parametrize("name", SETTINGS)
def test_the_settings_are_valid_as_they_stand(monkeypatch, tmp_path, name, outside):
    monkeypatch.chdir(tmp_path)
    for variable in variables(SETTINGS[name]):
        monkeypatch.delenv(variable, raising=False)
    own = {entry["name"]: entry.get("value", "of letters") for entry in container(name)["env"]}
    for variable, value in {**lines("settings.env"), **(literals() if outside else {}), **own}.items():
        monkeypatch.setenv(variable, value)
    settings: BaseSettings = SETTINGS[name]()
    assert "backend" in str(getattr(settings, "allowed_hosts", "backend")), "or the dashboard is refused"


def test_secrets_are_left_to_whoever_fills_them_in(project_root):
    wanted = [entry["valueFrom"]["secretKeyRef"] for name in PODS for entry in container(name).get("env", ())
              if "valueFrom" in entry]  # fmt: skip
    assert {one["name"] for one in wanted} == {"secrets"}
    assert {one["key"] for one in wanted} == set(lines("secrets.env.example"))
    assert set(lines("secrets.env.example").values()) == {""}
    ignored = subprocess.run(["git", "check-ignore", "-q", "deploy/kubernetes/secrets.env"], cwd=project_root)
    assert ignored.returncode in (0, 128)  # 128: no git checkout


def test_a_service_leads_to_a_port_that_its_pod_has():
    ports = {one["metadata"]["name"]: one["spec"]["ports"] for one in documents() if one["kind"] == "Service"}
    assert ports.keys() == {POSTGRES, "backend", "dashboard"}
    for name, (port,) in ports.items():
        (of_pod,) = container(name)["ports"]
        assert (port["port"], port["targetPort"]) == (of_pod["containerPort"], of_pod["name"])
    assert urlsplit(lines("settings.env")["DATABASE_URL"]).hostname == POSTGRES
    (url,) = [entry["value"] for entry in container("dashboard")["env"] if entry["name"] == "FEDMEM_API_URL"]
    assert url == f"http://backend:{ports['backend'][0]['port']}"


def test_the_ingress_leads_to_services_by_the_prefix_that_the_api_knows():
    (ingress,) = documents("ingress.yaml")
    (rule,) = ingress["spec"]["rules"]
    ways = {way["path"]: way["backend"]["service"]["name"] for way in rule["http"]["paths"]}
    assert ways == {literals()["FEDMEM_ROOT_PATH"]: "backend", "/": "dashboard"}
    assert rule["host"] in literals()["FEDMEM_ALLOWED_HOSTS"].split(",")


@pytest.fixture
def filled(tmp_path) -> Path:
    """A copy with secrets, in which every component is taken."""
    folder = shutil.copytree(FOLDER, tmp_path / "kubernetes")
    (folder / "secrets.env").write_text("".join(f"{name}=chosen\n" for name in lines("secrets.env.example")))
    text = (folder / "kustomization.yaml").read_text(encoding="utf-8")
    taken = text.replace("components: []", "components:").replace("#  - ", "  - ")
    (folder / "kustomization.yaml").write_text(taken, encoding="utf-8")
    assert yaml.safe_load(taken)["components"] == ["one-node", "ingress"]
    return folder


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl, which puts the manifests together")
def test_what_a_cluster_gets_is_valid(filled):
    shown = subprocess.run(["kubectl", "kustomize", filled], capture_output=True, text=True, check=True).stdout
    everything = list(yaml.safe_load_all(shown))
    for document in everything:
        valid(document)
    kinds = {document["kind"] for document in everything}
    assert {"Secret", "ConfigMap", "Ingress", "StatefulSet", "Deployment", "Job"} <= kinds
    (volume,) = [document for document in everything if document["kind"] == "PersistentVolumeClaim"]
    assert volume["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert not re.search(r"image: fedmem$", shown, re.MULTILINE), "an image that no registry has"
