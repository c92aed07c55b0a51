"""The recipe of a modality: three files, and it is trained, aggregated, stored, served, explained and named."""

import json
from pathlib import Path

import numpy as np

from tests.extending.recipes import recipe
from tests.tiny import ITEMS


def test_a_modality_is_three_files(tmp_path: Path) -> None:
    found = recipe("An expert or a modality")
    assert len(found.changes) <= 5
    ids = np.array([str(item) for item in range(1, ITEMS + 1) if item != 4])
    vectors = np.random.default_rng(0).standard_normal((len(ids), 5)).astype(np.float32)
    np.savez(tmp_path / "audio.npz", item_ids=ids, vectors=vectors)
    source = found.carry_out(tmp_path / "source")
    run = json.loads(source.run("audible_run.py", str(tmp_path / "audio.npz")))
    assert run["note"].endswith(f"{ITEMS - 1} of {ITEMS} items")
    assert len(run["gates"]) == 6
    assert all(0 < gate < 1 for gate in run["gates"])
    assert run["blocks"] == ["audio", "sequential"]
    assert run["explained gates"].keys() == {"sequential", "audio"}
    assert any(run["read"])
    assert run["share"] != 0
    assert run["difference"] < 1e-5
    assert run["words"][0] == "Audio"
    assert "Memory by audio" in run["words"]
    assert run["adapter"] == [6, 5]
