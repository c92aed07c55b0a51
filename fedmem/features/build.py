"""Catalogue and histories to frozen features, by the policy of each modality: required, auto or off."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy.typing as npt

from fedmem.data.interactions import Item
from fedmem.errors import FeatureError
from fedmem.features.cache import FloatArray, Progress
from fedmem.features.image import ImageEncoder
from fedmem.features.precomputed import PrecomputedVectors, names_a_file, read_precomputed
from fedmem.features.preference_endpoint import EndpointWriter
from fedmem.features.preference_texts import PreferenceWriter, preference_boundary, template_text
from fedmem.features.store import ItemFeatures, Modality, UserFeatures
from fedmem.features.text import TextEncoder

logger = logging.getLogger(__name__)

Policy = Literal["required", "auto", "off"]
StageProgress = Callable[[str, int, int], None]  # (what is being done, done, total)

_WHERE_FROM = {
    "text": "give titles, genres or descriptions with --items FILE",
    "image": "give images with --images DIR, or a file of vectors with --set features.image_model_name=FILE",
}


@dataclass(frozen=True, eq=False)
class _Raw:
    """What an encoder found: one vector or ``None`` per item, and the encoder's identity."""

    vectors: list[FloatArray | None]
    identity: str

    @property
    def present(self) -> int:
        return sum(vector is not None for vector in self.vectors)


class TrainingHistories(Protocol):
    """What a data set shows of its users here: training items only, no validation or test item."""

    @property
    def num_users(self) -> int: ...

    @property
    def items(self) -> Sequence[Item]: ...

    def training_history(self, user: int, /) -> npt.NDArray[Any]: ...


def build_item_features(
    items: Sequence[Item],
    *,
    text: Policy,
    image: Policy,
    text_model_name: str,
    image_model_name: str,
    cache_dir: Path | str | None = None,
    progress: StageProgress | None = None,
) -> tuple[ItemFeatures, dict[str, str]]:
    """Features of I items, and per modality what was used and what it covers, for the manifest.

    ``required`` raises FeatureError where no item has the modality, its encoder cannot be had or an image is broken;
    ``auto`` does without and warns. Items without the modality are masked either way. A file of precomputed vectors
    that is named but unusable is an error under both.
    """

    def raw_texts() -> _Raw:
        return _text_vectors(items, TextEncoder(text_model_name, cache_dir), _stage(progress, "item texts"))

    def raw_images() -> _Raw:
        if vectors is not None:
            return _Raw(vectors.rows_for([item.item_id for item in items]), vectors.identity)
        encoder = ImageEncoder(image_model_name, cache_dir)
        return _image_vectors(items, encoder, image == "auto", _stage(progress, "item images"))

    vectors = _precomputed(image_model_name, items) if image != "off" else None
    text_part, text_note = _modality("text", text, raw_texts)
    image_part, image_note = _modality("image", image, raw_images)
    return ItemFeatures.from_modalities(len(items), text_part, image_part), {"text": text_note, "image": image_note}


def build_user_features(
    dataset: TrainingHistories,
    item_features: ItemFeatures,
    *,
    policy: Policy,
    text_model_name: str,
    writer: PreferenceWriter = template_text,
    cache_dir: Path | str | None = None,
    progress: StageProgress | None = None,
) -> tuple[UserFeatures, str]:
    """Encoded preference texts of U users, from the first half of each training history, and a note for the manifest.

    They are centred and scaled with the items' texts, hence need them: ``required`` raises FeatureError where the
    item texts are not used or no user has a text, ``auto`` does without.
    """
    if policy == "off":
        return UserFeatures.empty(dataset.num_users), "off"
    reason = "preference texts need item texts" if item_features.text is None else "no user has a preference text"
    texts = [] if item_features.text is None else _written(dataset, writer, _stage(progress, "preference texts"))
    if not any(texts):
        if policy == "required":
            raise FeatureError(
                f"features.preference_text is required, but {reason}: {_WHERE_FROM['text']}, or train without it by "
                "--set features.preference_text=off"
            )
        logger.info("preference texts are not used: %s", reason)
        return UserFeatures.empty(dataset.num_users), f"auto: {reason}, not used"
    encoder = TextEncoder(text_model_name, cache_dir)
    raw = _encoded_where_present(texts, encoder, _stage(progress, "preference vectors"))
    assert item_features.text_mean is not None, "item texts are used"
    fitted = Modality.transformed(raw, item_features.text_mean, item_features.text_scale)
    note = f"{encoder.identity}, {int(fitted.mask.sum())} of {dataset.num_users} users"
    return UserFeatures(fitted.rows, fitted.mask), note


def _modality(name: str, policy: Policy, obtain: Callable[[], _Raw]) -> tuple[Modality | None, str]:
    if policy == "off":
        return None, "off"
    try:
        raw = obtain()
    except FeatureError as error:
        if policy == "required":
            raise
        logger.warning("%s features are not used: %s", name, error)
        return None, f"auto: not used, {error}"
    if not raw.present:
        return None, _absent(name, policy)
    note = f"{raw.identity}, {raw.present} of {len(raw.vectors)} items"
    logger.info("%s features: %s", name, note)
    return Modality.fitted(raw.vectors), note


def _absent(name: str, policy: Policy) -> str:
    reason = "no item has an image" if name == "image" else "no item has a text"
    if policy == "required":
        raise FeatureError(
            f"features.{name} is required, but {reason}: {_WHERE_FROM[name]}, or train without it by "
            f"--set features.{name}=off"
        )
    logger.info("%s features are not used: %s", name, reason)
    return f"auto: {reason}, not used"


def _text_vectors(items: Sequence[Item], encoder: TextEncoder, progress: Progress | None) -> _Raw:
    vectors = _encoded_where_present([item.text for item in items], encoder, progress)
    return _Raw(vectors, encoder.identity if any(vector is not None for vector in vectors) else "")


def _encoded_where_present(
    texts: Sequence[str], encoder: TextEncoder, progress: Progress | None
) -> list[FloatArray | None]:
    present = [index for index, text in enumerate(texts) if text.strip()]
    vectors: list[FloatArray | None] = [None] * len(texts)
    encoded = encoder.encode([texts[index] for index in present], progress) if present else ()
    for index, vector in zip(present, encoded, strict=True):
        vectors[index] = vector
    return vectors


def _image_vectors(items: Sequence[Item], encoder: ImageEncoder, skip_broken: bool, progress: Progress | None) -> _Raw:
    paths = {index: item.image_path for index, item in enumerate(items) if item.image_path is not None}
    vectors: list[FloatArray | None] = [None] * len(items)
    if not paths:
        return _Raw(vectors, "")
    encoded, mask = encoder.encode(list(paths.values()), skip_broken=skip_broken, progress=progress)
    for index, vector, present in zip(paths, encoded, mask, strict=True):
        vectors[index] = vector if present else None
    return _Raw(vectors, encoder.identity)


def _precomputed(name: str, items: Sequence[Item]) -> PrecomputedVectors | None:
    if not names_a_file(name):
        return None
    vectors = read_precomputed(name)
    unknown = vectors.unknown_ids([item.item_id for item in items])
    if unknown and len(unknown) == len(vectors.item_ids):
        raise FeatureError(f"{name} knows none of the catalogue's items: its ids are like {unknown[0]!r}")
    if unknown:
        logger.info("%s: %d of %d ids are not in the catalogue", name, len(unknown), len(vectors.item_ids))
    return vectors


def _written(dataset: TrainingHistories, writer: PreferenceWriter, progress: Progress | None) -> list[str]:
    texts = []
    for user in range(dataset.num_users):
        history = dataset.training_history(user)
        first_half = history[: preference_boundary(len(history))]
        texts.append(writer([dataset.items[int(index) - 1] for index in first_half]))
        if progress is not None:
            progress(user + 1, dataset.num_users)
    if isinstance(writer, EndpointWriter) and writer.rejected:
        logger.warning("%d answers were empty or named a title: the template stands in for them", writer.rejected)
    return texts


def _stage(progress: StageProgress | None, name: str) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total: progress(name, done, total)
