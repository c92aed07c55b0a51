"""Models made on the spot, and the real text encoder where its package is installed."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from fedmem.features.model_files import OFFLINE_PACKAGE
from fedmem.features.text import TextEncoder


@pytest.fixture(scope="session")
def real_encoder(feature_cache: Path) -> TextEncoder:
    """all-MiniLM-L6-v2 from the offline package."""
    try:
        importlib.metadata.version(OFFLINE_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"the package {OFFLINE_PACKAGE} is not installed: no real text encoder")
    return TextEncoder(cache_dir=feature_cache)


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of 8 dimensions with random weights, saved by sentence-transformers."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import (
        CLIPConfig,
        CLIPImageProcessorPil,
        CLIPModel,
        CLIPProcessor,
        CLIPTextConfig,
        CLIPTokenizer,
        CLIPVisionConfig,
    )

    folder = tmp_path_factory.mktemp("tiny-clip")
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = [*letters, *[f"{letter}</w>" for letter in letters], "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": 8,
    }
    text = CLIPTextConfig(vocab_size=len(vocabulary), bos_token_id=52, eos_token_id=53, **sizes)
    vision = CLIPVisionConfig(image_size=32, patch_size=16, **sizes)
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)).save_pretrained(
        folder / "transformers"
    )
    CLIPProcessor(  # type: ignore[no-untyped-call]
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer=CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")),
    ).save_pretrained(folder / "transformers")
    model = SentenceTransformer(str(folder / "transformers"), device="cpu", local_files_only=True)
    model.save(str(folder / "tiny-clip"))
    return folder / "tiny-clip"
