"""The containers' files: what they promise, and that every setting they pass on is one that a service reads.

Nothing is built here; the README says how, and what comes of it.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from backend.settings import Settings as BackendSettings
from dashboard.settings import Settings as DashboardSettings
from fedmem.data.demo import write_demo
from tests.architecture.test_commands_in_documents import parse
from trainer.settings import Settings as TrainerSettings

ROOT = Path(__file__).resolve().parents[1]
ONCE = "migrate"  # its exit code is its health
SETTINGS: dict[str, type[BaseSettings]] = {
    "trainer": TrainerSettings,
    "backend": BackendSettings,
    "dashboard": DashboardSettings,
}
SERVICES = [ONCE, *SETTINGS]
# By these s3fs reaches a bucket.
OF_THE_BUCKET = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"}
PLACEHOLDER = re.compile(r"\$\{(\w+)(?::?([-?])([^}]*))?\}")
# What the image and the file itself decide: on a host of one's own, other values are right.
PLACES = {"FEDMEM_DATA_DIR", "FEDMEM_PORT", "FEDMEM_DASHBOARD_PORT"}


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return content


def filled(text: str, **given: str) -> str:
    """With the defaults of variables that are not given, as Compose puts them in; KeyError where one must be given."""

    def value(match: re.Match[str]) -> str:
        name, kind, default = match.groups()
        return given.get(name) or default if kind == "-" else given[name]

    return PLACEHOLDER.sub(value, text)


def variables(settings: type[BaseSettings]) -> dict[str, str]:
    """The environment variables of settings, with the names of their fields."""
    prefix = settings.model_config.get("env_prefix", "")
    aliases = {name: field.validation_alias or field.alias for name, field in settings.model_fields.items()}
    return {str(alias) if alias else f"{prefix}{name.upper()}": name for name, alias in aliases.items()}


def environment(service: str, **given: str) -> dict[str, str]:
    """What a container gets where nothing but this is set: names without a value are left out."""
    entries = read("docker-compose.yml")["services"][service]["environment"]
    return {name: filled(str(value), **given) for name, value in entries.items() if value is not None}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read("docker-compose.yml")["services"]
    return found


def test_there_are_four_services_of_one_image(services):
    assert sorted(services) == sorted(SERVICES)
    assert {service["image"] for service in services.values()} == {"fedmem"}
    assert len({str(service["build"]) for service in services.values()}) == 1


@pytest.mark.parametrize("name", SETTINGS)
def test_a_service_says_how_it_is_watched_ended_and_started_again(services, name):
    service = services[name]
    check = service["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "start_period", "retries"} <= check.keys()
    assert service["restart"] == "unless-stopped"
    assert re.fullmatch(r"\d+s", service["stop_grace_period"])


def test_the_graces_are_longer_than_what_they_wait_for(services):
    from backend.server import GRACE_SECONDS
    from cli.processes import GRACE

    assert int(services["backend"]["stop_grace_period"].removesuffix("s")) > GRACE_SECONDS
    assert int(services["trainer"]["stop_grace_period"].removesuffix("s")) >= GRACE


def test_nothing_starts_before_the_tables_are_there(services):
    assert services[ONCE]["restart"] == "no"
    for name in ("trainer", "backend"):
        assert services[name]["depends_on"] == {ONCE: {"condition": "service_completed_successfully"}}
    assert services["dashboard"]["depends_on"] == {"backend": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_little(services, name):
    service = services[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"user", "privileged", "network_mode", "cap_add"} & service.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_a_command_is_one_that_there_is(services, name):
    program, *arguments = services[name]["command"]
    if program == "fedmem":
        parse([program, *arguments])
    else:
        assert (program, arguments[0]) == ("python", "-m")
        assert (ROOT / arguments[1] / "__main__.py").is_file()


def test_the_trainers_health_check_is_there(services):
    assert services["trainer"]["healthcheck"]["test"] == ["CMD", "python", "-m", "trainer.health"]
    assert (ROOT / "trainer" / "health.py").is_file()


@pytest.mark.parametrize("name", SETTINGS)
def test_every_variable_is_a_setting_of_its_service(services, name):
    own = set(variables(SETTINGS[name]))
    assert set(services[name]["environment"]) <= own | (OF_THE_BUCKET if "FEDMEM_BUCKET" in own else set())


@pytest.mark.parametrize("name", ["trainer", "backend"])
def test_a_bucket_can_be_reached(services, name):
    assert {"FEDMEM_BUCKET", *OF_THE_BUCKET} <= set(services[name]["environment"])


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_can_be_set_from_outside(services, name):
    assert set(variables(SETTINGS[name])) - set(services[name]["environment"]) <= PLACES


@pytest.mark.parametrize("name", SETTINGS)
def test_the_settings_are_valid_as_they_stand(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    for variable in variables(SETTINGS[name]):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment(name).items():
        monkeypatch.setenv(variable, value)
    SETTINGS[name]()


@pytest.mark.parametrize("key", ["", "a key of one's own"])
def test_the_dashboard_has_the_key_that_the_backend_asks_for(key):
    given = {"FEDMEM_API_KEY": key}
    api, board = environment("backend", **given), environment("dashboard", **given)
    assert api["FEDMEM_API_KEY"] == board["FEDMEM_API_KEY"] == (key or "local")
    assert board["FEDMEM_API_URL"] == f"http://backend:{BackendSettings.model_fields['port'].default}"


def test_only_this_machine_reaches_a_port(services):
    published = {name: filled(port) for name, service in services.items() for port in service.get("ports", ())}
    assert published == {"backend": "127.0.0.1:8000:8000", "dashboard": "127.0.0.1:8501:8501"}


def test_what_is_written_lies_in_the_volume(services):
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "WORKDIR /data\n" in image
    for name in (ONCE, "trainer", "backend"):
        assert services[name]["volumes"] == ["data:/data"]
        assert environment(name)["DATABASE_URL"] == str(BackendSettings.model_fields["database_url"].default)
    assert not Path(BackendSettings.model_fields["data_dir"].default).is_absolute()
    assert "data" in read("docker-compose.yml")["volumes"]


def test_the_image_runs_as_an_unprivileged_user():
    stages = (ROOT / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")
    (service,) = [stage for stage in stages if stage.startswith("python:3.11-slim AS service\n")]
    users = re.findall(r"^USER (\S+)$", service, re.MULTILINE)
    assert users
    assert users[-1] not in ("root", "0")
    made_of_it = [stage for stage in stages if stage.startswith("service")]
    assert (len(made_of_it), made_of_it[-1]) == (2, stages[-1])
    assert "USER" not in "".join(made_of_it)


def test_the_image_has_the_programs_that_back_up_postgresql():
    stages = (ROOT / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")
    (service,) = [stage for stage in stages if stage.startswith("python:3.11-slim AS service\n")]
    as_root, _, _ = service.partition("\nUSER ")
    assert re.search(r"^ +&& apt-get install [^\n]*\bpostgresql-client\b", as_root, re.MULTILINE)


def test_the_image_keeps_to_the_constraints_and_knows_no_index():
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "--require-hashes --no-deps --only-binary :all: -r locked.txt" in image
    assert "-c constraints.txt" in image
    assert re.search(r"^ARG PIP_EXTRA_INDEX_URL$", image, re.MULTILINE)
    assert read("docker-compose.yml")["x-service"]["build"]["args"] == {
        "PIP_INDEX_URL": None,
        "PIP_EXTRA_INDEX_URL": None,
    }


COMPOSE_FILES = ["docker-compose.yml", "docker-compose.postgres.yml", "docker-compose.federated.yml"]


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore", *COMPOSE_FILES])
def test_a_file_holds_no_address_of_elsewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert set(re.findall(r"https?://([^/:\s']+)", text)) <= {"127.0.0.1", "backend"}


def test_what_the_image_is_made_of_is_sent_to_the_builder():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert {"pyproject.toml", "constraints.txt", "locked.txt", "locked-flower.txt", "README.md", "LICENSE"} <= kept
    assert {"cli", "fedmem", "backend", "trainer", "dashboard", "web", "migrations", "benchmarks"} <= kept
    assert ".env" not in kept
    assert [name for name in kept if not (ROOT / name).exists()] == []


def test_postgresql_needs_a_password_of_its_owner():
    extra = read("docker-compose.postgres.yml")["services"]
    with pytest.raises(KeyError, match="POSTGRES_PASSWORD"):
        filled(extra["postgres"]["environment"]["POSTGRES_PASSWORD"])
    for name in (ONCE, "trainer", "backend"):
        url = filled(extra[name]["environment"]["DATABASE_URL"], POSTGRES_PASSWORD="chosen")
        assert url == "postgresql://fedmem:chosen@postgres:5432/fedmem"
    assert extra[ONCE]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert {"healthcheck", "stop_grace_period", "restart"} <= extra["postgres"].keys()
    assert "ports" not in extra["postgres"]


NODES = ["amsterdam", "berlin", "copenhagen"]


def test_each_node_has_a_slice_and_a_volume_of_its_own():
    extra = read("docker-compose.federated.yml")
    nodes = {name: extra["services"][name] for name in NODES}
    assert {*nodes, "superlink", "trainer"} == extra["services"].keys()
    assert sorted(node["environment"]["PART"] for node in nodes.values()) == ["0", "1", "2"]
    assert all(node["environment"]["NAME"] == name for name, node in nodes.items())
    assert {name: node["volumes"] for name, node in nodes.items()} == {name: [f"{name}:/data"] for name in NODES}
    assert extra["volumes"].keys() == set(NODES)
    for service in (*nodes.values(), extra["services"]["superlink"]):
        assert "ports" not in service
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]


def test_a_node_writes_the_users_of_its_slice(tmp_path):
    """By the commands of the file, with programs of the image in place of which stand others."""
    script = read("docker-compose.federated.yml")["services"]["berlin"]["command"][-1].replace("$$", "$")
    demo = write_demo(tmp_path / "demo", num_users=9, num_items=30)
    everything = (demo / "interactions.csv").read_text().splitlines()
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("fedmem", "flower-supernode"):
        (programs / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (programs / name).chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "NAME": "berlin", "PART": "1"}
    ran = subprocess.run(
        ["sh", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == 'name="berlin" data="/data/users.csv" store="/data/store"'
    header, *rows = (tmp_path / "users.csv").read_text().splitlines()
    assert not demo.exists()
    assert header == everything[0]
    assert rows == [row for row in everything[1:] if int(row.split(",")[0].removeprefix("u")) % 3 == 1]
    assert {row.split(",")[0] for row in rows} == {"u001", "u004", "u007"}
