"""What a job is estimated to take: as much as arrays of its shapes do, so that what no machine has is told apart."""

import pytest

from fedmem.config_reader import validate_config
from fedmem.footprint import DataSize, Footprint, shown
from fedmem.process_memory import machine_memory

ML_100K = DataSize(943, 1682, 100_000)


def memory(data=ML_100K, **changes) -> int:
    return Footprint.of(validate_config(changes, "the test"), data).memory


def test_the_defaults_fit_and_the_largest_sizes_do_not():
    assert memory() < 2**30
    assert memory(model={"sasrec_hidden_dim": 10_000, "sasrec_num_blocks": 20}) > 100 * 2**30


@pytest.mark.parametrize(
    "more",
    [
        {"model": {"sasrec_hidden_dim": 512}},
        {"model": {"sasrec_num_blocks": 50}},
        {"federated": {"chunk_size": 10_000, "client_fraction": 1.0}},
        {"federated": {"local_epochs": 2}},
        {"federated": {"aggregation_method": "median"}},
        {"workers": 4},
    ],
)
def test_whatever_is_larger_takes_more(more):
    assert memory(**more) > memory()


def test_what_a_gpu_holds_takes_no_memory_of_the_machine():
    large = {"model": {"sasrec_hidden_dim": 512}}
    assert memory(**large, device="cuda") < memory(**large) < memory(**large, device="cpu", workers=2)
    all_at_once = {"federated": {"chunk_size": 10_000, "client_fraction": 1.0}}
    assert memory(**all_at_once, device="cuda:0") == memory(device="cuda:0")


def test_a_larger_catalogue_takes_more_memory_and_disk():
    larger = DataSize(943, 1_000_000, 100_000)
    assert memory(larger) > 2 * memory()
    config = validate_config({}, "the test")
    assert Footprint.of(config, larger).disk > 10 * Footprint.of(config, ML_100K).disk


def test_the_estimate_is_below_what_the_arrays_of_a_large_model_take_and_not_far_below():
    """Measured for 300 users, 3,000 items, hidden size 1,024 and 6 blocks in one process: 4,015 MiB."""
    config = {"model": {"sasrec_hidden_dim": 1024, "sasrec_num_blocks": 6}}
    assert 0.6 < memory(DataSize(300, 3000, 4500), **config) / (4015 * 2**20) < 1


def test_a_machine_has_memory_and_it_is_shown_for_people():
    assert machine_memory() > 2**28
    assert shown(machine_memory()).endswith(" GiB") or shown(machine_memory()).endswith(" MiB")
