"""The preference text of a history that arrives without one: written and encoded as those of before the training."""

import logging
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedmem.checkpoint import Snapshot
from fedmem.errors import FeatureError
from fedmem.features.preference_texts import preference_boundary, template_text
from fedmem.features.text import TextEncoder
from fedmem.modality import Modality
from fedmem.serving.new_items import encoder_of

FloatArray = npt.NDArray[np.float32]

logger = logging.getLogger(__name__)


def preference_of(snapshot: Snapshot, history: npt.NDArray[np.integer]) -> FloatArray | None:
    """Put the taste of a history's first half into words by the template, and encode them [D_t].

    None where the model reads no preference texts, where nothing can be said, or where the encoder that encoded the
    others is not on this machine. No language model is asked: the template stands in for it.
    """
    return preferences_of(snapshot, [history])[0]


def preferences_of(snapshot: Snapshot, histories: Sequence[npt.NDArray[np.integer]]) -> list[FloatArray | None]:
    """Find each history's vector as ``preference_of`` does, to the last bit; their texts are encoded together."""
    items = snapshot.features.vectors.get(Modality.TEXT)
    encoder = None if items is None else _encoder(snapshot)
    if items is None or encoder is None:
        return [None] * len(histories)
    texts = [_text(snapshot, history) for history in histories]
    vectors = _vectors(encoder, [text for text in texts if text])
    return [items.transform(vectors[text]) if text else None for text in texts]


def reads_texts(snapshot: Snapshot) -> bool:
    """Say whether a history that is sent along is given a preference text, if something can be said."""
    return Modality.TEXT in snapshot.features.vectors and _encoder(snapshot) is not None


def _text(snapshot: Snapshot, history: npt.NDArray[np.integer]) -> str:
    first_half = history[: preference_boundary(len(history))].tolist()
    return template_text([snapshot.dataset.items[index - 1] for index in first_half])


def _encoder(snapshot: Snapshot) -> TextEncoder | None:
    """Find the encoder of the users' preference texts; another one's vectors would mean nothing."""
    if snapshot.user_features.preference is None:
        return None
    encoder = encoder_of(snapshot.config.model.text_model_name)
    try:
        return encoder if snapshot.provenance.get("preference_text", "").startswith(encoder.identity) else None
    except FeatureError as error:
        _say_once(str(error))
        return None


def _vectors(encoder: TextEncoder, texts: Sequence[str]) -> dict[str, FloatArray]:
    """Encode texts; the vector of one alone is kept, for it is likely to be asked for again."""
    return {text: _vector(encoder, text) for text in texts} if len(texts) == 1 else encoder.encode_unkept(texts)


@lru_cache(maxsize=1024)
def _vector(encoder: TextEncoder, text: str) -> FloatArray:
    return encoder.encode_unkept([text])[text]


@lru_cache(maxsize=16)
def _say_once(reason: str) -> None:
    logger.warning("histories that are sent are answered without a preference text: %s", reason)
