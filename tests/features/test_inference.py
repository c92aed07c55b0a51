from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmem.errors import FeatureError
from fedmem.features.inference import BATCH_SIZE, batches, encode_batch, load_model
from fedmem.features.model_files import find_model


class _Recording:
    """Stands for a model: notes how it is called."""

    def encode(self, inputs: list[str], **options: Any) -> np.ndarray[Any, Any]:
        self.inputs, self.options, self.threads = inputs, options, torch.get_num_threads()
        return np.arange(2 * len(inputs), dtype=np.float64).reshape(-1, 2)


@pytest.mark.parametrize("count", [1, 3, BATCH_SIZE])
def test_every_batch_has_the_same_size(count: int) -> None:
    model = _Recording()
    vectors = encode_batch(model, [f"text {n}" for n in range(count)])  # type: ignore[arg-type]
    assert len(model.inputs) == model.options["batch_size"] == BATCH_SIZE
    assert vectors.shape == (count, 2)
    assert vectors.dtype == np.float32


def test_one_thread_while_encoding_and_as_many_as_before_after() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model = _Recording()
        encode_batch(model, ["a"])  # type: ignore[arg-type]
        assert model.threads == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_batches_cover_everything_once() -> None:
    cut = list(batches(range(2 * BATCH_SIZE + 1)))
    assert [len(batch) for batch in cut] == [BATCH_SIZE, BATCH_SIZE, 1]
    assert [position for batch in cut for position in batch] == list(range(2 * BATCH_SIZE + 1))
    assert list(batches([])) == []


def test_files_that_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"noise")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FeatureError, match="sentence-transformers cannot load"):
        load_model(find_model(str(tmp_path), "text"))


def test_no_progress_bar_on_the_terminal(tiny_clip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_model(find_model(str(tiny_clip), "text"))
    assert capfd.readouterr().err == ""
