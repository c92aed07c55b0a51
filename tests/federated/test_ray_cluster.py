"""What is said where Ray cannot be had, or would not do."""

import sys
from importlib.util import find_spec

import pytest

from fedmem.errors import ConfigError
from fedmem.federated.ray_cluster import Cluster, RaySettings
from tests.ports import free_port
from tests.tiny import population_of, tiny_config, tiny_snapshot


def test_without_ray_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"engine = ray needs Ray, .*pip install -c constraints\.txt -e '\.\[ray\]'"):
        population_of(tiny_snapshot(tiny_config(engine="ray")))


def test_actors_that_would_have_no_client_are_refused():
    tiny_config(engine="ray", workers=2, federated={"shards": 2})
    with pytest.raises(ConfigError, match=r"workers = 3 needs as many federated\.shards at least, and there are 2"):
        tiny_config(engine="ray", workers=3, federated={"shards": 2})


def test_another_device_than_the_cpu_is_refused():
    with pytest.raises(ConfigError, match=r"engine = ray trains on CPUs, and device = cuda"):
        tiny_config(engine="ray", device="cuda")


@pytest.mark.parametrize("address", ["local", "auto", "10.0.0.7:6379"])
def test_an_address_is_a_cluster_or_where_it_is_found(monkeypatch, address):
    monkeypatch.setenv("FEDMEM_RAY_ADDRESS", address)
    assert RaySettings.load().ray_address == address


def test_an_address_without_a_port_is_refused(monkeypatch):
    monkeypatch.setenv("FEDMEM_RAY_ADDRESS", "head.example.org")
    with pytest.raises(ConfigError, match=r"FEDMEM_RAY_ADDRESS = 'head\.example\.org'"):
        RaySettings.load()


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_where_no_cluster_is_the_setting_is_named(monkeypatch):
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("FEDMEM_RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match=rf"FEDMEM_RAY_ADDRESS = {address}: Ray is not reached there .*refused"):
        Cluster(1)
