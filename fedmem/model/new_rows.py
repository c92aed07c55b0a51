"""Items that a model was not trained with: by its text, one finds its likes, and the id embedding that they have."""

from collections.abc import MutableMapping
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from fedmem.modality import Modality
from fedmem.model.recommender import UR4RecV2MoE

REGULARISATION = 3.0  # chosen on two draws of new items of ML-100K that no reported figure is of: docs/experiments.md
_maps: MutableMapping[UR4RecV2MoE, Tensor] = WeakKeyDictionary()


def ids_of_texts(trained: UR4RecV2MoE, texts: Tensor) -> Tensor:
    """Make id embeddings [n, D] so that the embedding is what trained items of such a text have.

    Args:
        trained: the model as it was trained.
        texts: the new items' texts as it takes them [n, D_t].
    """
    embedding = (_unit(texts) @ _embedding_of_texts(trained)).to(trained.sasrec.item_embedding)
    return embedding if trained.text_embedding is None else embedding - trained.text_embedding(texts)


def likest(trained: UR4RecV2MoE, texts: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find the trained items whose texts have the greatest cosine to each of these, and the cosines: [n, count] each.

    Of fewer trained items all are found.
    """
    rows = trained.features[Modality.TEXT].vectors[1:]
    lengths = torch.linalg.vector_norm(rows, dim=1).clamp(min=1e-12)
    cosines = torch.nn.functional.normalize(texts.to(rows), dim=-1) @ rows.T / lengths  # [n, I], 0 without a text
    found = cosines.topk(min(count, len(rows)), dim=1)
    return found.indices + 1, found.values


def _embedding_of_texts(trained: UR4RecV2MoE) -> Tensor:
    """Return B [D_t, D], by which a text t of length 1 has the embedding t B: ridge regression over the trained items.

    B = (TᵀT + λI)⁻¹ TᵀX, known as a mapping from attributes to features (Gantner et al., ICDM 2010).
    """
    if trained not in _maps:
        texts = _unit(trained.features[Modality.TEXT].vectors[1:])  # [I, D_t], 0 without a text
        gram = texts.T @ texts + REGULARISATION * torch.eye(texts.shape[1], dtype=texts.dtype)
        _maps[trained] = torch.linalg.solve(gram, texts.T @ trained.item_table().embedding[1:].to(texts))
    return _maps[trained]


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors.double(), dim=-1)
