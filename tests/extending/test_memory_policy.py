"""The recipe of a memory policy: two files, and the memories hold what it chose."""

from pathlib import Path

import pytest

from tests.extending.recipes import recipe
from tests.tiny import tiny_dataset


def test_a_memory_policy_is_two_files(tmp_path: Path) -> None:
    found = recipe("A memory policy")
    assert len(found.changes) <= 2
    source = found.carry_out(tmp_path)
    memories = source.train(fedmem={"memory_policy": "first"})["memories"]
    assert memories
    for user, items in memories.items():
        history = tiny_dataset().training_history(int(user)).tolist()
        assert set(items) == set(history[:6])  # the tiny configuration's capacity
    with pytest.raises(AssertionError, match="first chooses from the whole history"):
        source.train(fedmem={"memory_policy": "first"}, training={"batch_size": 4})
