"""Every setting of every service stands in ``.env.example``, with its meaning and its default; nothing else does."""

import pytest

from backend.settings import Settings as BackendSettings
from dashboard.settings import Settings as DashboardSettings
from fedmem.features.settings import FeatureSettings
from fedmem.federated.ray_cluster import RaySettings
from fedmem.nodes.flower_settings import FlowerSettings
from fedmem.service_settings import ServiceSettings
from trainer.settings import Settings as TrainerSettings

SERVICES: list[type[ServiceSettings]] = [
    BackendSettings,
    TrainerSettings,
    DashboardSettings,
    FeatureSettings,
    RaySettings,
    FlowerSettings,
]


def documented(service: type[ServiceSettings]) -> dict[str, tuple[str, str]]:
    """Meaning and default by variable."""
    fields = service.model_fields.items()
    defaults = {name: "" if field.default is None else str(field.default).rstrip("/") for name, field in fields}
    return {service.variable(name): (f"# {field.description}", defaults[name]) for name, field in fields}


@pytest.fixture(scope="module")
def example(project_root) -> list[str]:
    return (project_root / ".env.example").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("service", SERVICES, ids=["backend", "trainer", "dashboard", "features", "ray", "flower"])
def test_the_example_lists_every_setting_with_its_meaning_and_default(service, example):
    for variable, (meaning, default) in documented(service).items():
        place = example.index(f"#{variable}={default}")
        assert example[place - 1] == meaning


def test_the_example_lists_nothing_that_no_service_reads(example):
    known = {variable for service in SERVICES for variable in documented(service)}
    assert {
        line[1:].partition("=")[0] for line in example if line.startswith("#") and "=" in line.split(" ")[0]
    } == known


@pytest.mark.parametrize("service", SERVICES, ids=["backend", "trainer", "dashboard", "features", "ray", "flower"])
def test_services_that_share_a_setting_agree_on_it(service):
    for other in SERVICES:
        mine, theirs = documented(service), documented(other)
        assert {name: mine[name] for name in mine.keys() & theirs} == {
            name: theirs[name] for name in mine.keys() & theirs
        }
