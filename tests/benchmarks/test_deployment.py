"""The tables of docs/deployment.md are what the arithmetic writes, and the arithmetic is that of what is sent."""

import numpy as np

from benchmarks.deployment import FEW, a_client, an_installation, broadcast_of, shown, tables
from benchmarks.simulate import configured
from fedmem.features.store import ItemFeatures
from fedmem.federated.start import build_model, initial_state


def test_the_guide_holds_the_tables(project_root):
    told = (project_root / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert "\n".join(tables()) not in told  # each has its own place
    for line in filter(None, tables()):
        assert f"{line}\n" in told


def test_a_broadcast_has_the_shapes_of_a_model_with_so_many_items():
    config, features = configured(), ItemFeatures(2 * FEW)
    state = initial_state(config, build_model(config, 2 * FEW, features), features)
    found = broadcast_of(2 * FEW)
    assert {name: value.shape for name, value in found.parameters.items()} == {
        name: value.shape for name, value in state.parameters.items()
    }


def test_what_grows_with_items_is_the_table_and_the_pairs():
    few, many = a_client(1_000), a_client(2_000)
    (dense, *_), (longer, *_) = few.values(), many.values()
    assert longer - dense == 1_000 * 64 * 4
    pairs = next(name for name in few if "all pairs" in name)
    assert (few[pairs], many[pairs]) == (4 * 1_001**2, 4 * 2_001**2)


def test_what_grows_with_users_is_in_proportion_to_what_ran():
    rounds = [{"phase": f"round {n}", "cpu_seconds": float(n)} for n in range(1, 6)]
    others = [{"phase": "ranking", "cpu_seconds": 36.0}, {"phase": "checkpoint", "cpu_seconds": 3.6}]
    ran = {"users": 10_000, "interactions": 150_000, "memories_on_disk_mib": 3, "checkpoint_mib": 2}
    found = an_installation(20_000, ran | {"users_who_ranked": 100, "phases": rounds + others})
    by_word = {
        word: next(v for name, v in found.items() if word in name) for word in ("histories", "validation", "of a round")
    }
    assert by_word == {"histories": 4 * 300_000 + 8 * 20_000, "validation": 2.0, "of a round": 3.0}
    assert np.isclose(found["CPU hours of those"], 3 * 20 / 3600)


def test_figures_have_units():
    assert shown("disk: a checkpoint", 3_425_000_000) == "3.4 GB"
    assert shown("CPU hours of a validation by all", 13.8) == "14"
    assert shown("CPU hours of a validation by all", 0.001) == "less than 0.01"
