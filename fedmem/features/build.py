"""Catalogue and histories to frozen features, by the policy of each modality: required, auto or off."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from fedmem.config import FeaturesConfig, Policy
from fedmem.data.interactions import Item
from fedmem.errors import FeatureError
from fedmem.features.cache import FloatArray, Progress
from fedmem.features.image import ImageEncoder
from fedmem.features.precomputed import names_a_file, read_precomputed
from fedmem.features.preference_endpoint import EndpointWriter
from fedmem.features.preference_texts import PreferenceWriter, preference_boundary, template_text
from fedmem.features.store import FrozenVectors, ItemFeatures, UserFeatures
from fedmem.features.text import TextEncoder
from fedmem.modality import FROZEN, Modality

logger = logging.getLogger(__name__)

StageProgress = Callable[[str, int, int], None]  # (what is being done, done, total)


@dataclass(frozen=True, eq=False)
class RawVectors:
    """What an encoder found: one vector or ``None`` per item, and the encoder's identity."""

    vectors: list[FloatArray | None]
    identity: str

    @property
    def present(self) -> int:
        return sum(vector is not None for vector in self.vectors)


@dataclass(frozen=True)
class Encoding:
    """How vectors are made.

    Attributes:
        config: the settings.
        text_model_name: the text encoder's name.
        progress: told of what is being done.
        like: features whose mean and scale are applied, which a trained model knows, instead of the catalogue's own.
        texts_folder: where vectors of preference texts are kept; None is the cache's own folder.
    """

    config: FeaturesConfig
    text_model_name: str
    progress: StageProgress | None = None
    like: ItemFeatures | None = None
    texts_folder: Path | None = None


@dataclass(frozen=True)
class Source:
    """Where a modality's raw vectors come from.

    Attributes:
        prepare: what is wrong already before anything is encoded is an error whatever the policy; returns the encoding.
        absent: what is said where no item has the modality.
        remedy: how to give it.
    """

    prepare: Callable[[Sequence[Item], Encoding], Callable[[], RawVectors]]
    absent: str
    remedy: str


class TrainingHistories(Protocol):
    """What a data set shows of its users here: training items only, no validation or test item."""

    @property
    def num_users(self) -> int: ...

    @property
    def items(self) -> Sequence[Item]: ...

    def training_history(self, user: int, /) -> npt.NDArray[Any]: ...


def build_item_features(items: Sequence[Item], encoding: Encoding) -> tuple[ItemFeatures, dict[str, str]]:
    """Make the features of I items, and say per modality what was used and what it covers, for the manifest.

    ``required`` raises FeatureError where no item has the modality, its encoder cannot be had or an image is broken;
    ``auto`` does without and warns. Items without the modality are masked either way. A file of precomputed vectors
    that is named but unusable is an error under both.
    """
    policies = {modality: encoding.config.policy(modality) for modality in FROZEN}
    prepared = {m: SOURCES[m].prepare(items, encoding) for m, policy in policies.items() if policy != "off"}
    vectors, notes = {}, {}
    for modality, policy in policies.items():
        like = None if encoding.like is None else encoding.like.vectors.get(modality)
        used, notes[modality.stored] = _vectors(modality, policy, prepared.get(modality), like)
        if used is not None:
            vectors[modality] = used
    return ItemFeatures(len(items), vectors), notes


def build_user_features(
    dataset: TrainingHistories,
    item_features: ItemFeatures,
    encoding: Encoding,
    policy: Policy,
    writer: PreferenceWriter = template_text,
) -> tuple[UserFeatures, str]:
    """Encode preference texts of U users, from the first half of each training history, with a note for the manifest.

    They are centred and scaled with the items' texts, hence need them: ``required`` raises FeatureError where the
    item texts are not used or no user has a text, ``auto`` does without.
    """
    if policy == "off":
        return UserFeatures.empty(dataset.num_users), "off"
    item_texts = item_features.vectors.get(Modality.TEXT)
    reason = "preference texts need item texts" if item_texts is None else "no user has a preference text"
    texts = [] if item_texts is None else _written(dataset, writer, _stage(encoding.progress, "preference texts"))
    if item_texts is None or not any(texts):
        if policy == "required":
            raise FeatureError(
                f"features.preference_text is required, but {reason}: {SOURCES[Modality.TEXT].remedy}, or train "
                "without it by --set features.preference_text=off"
            )
        logger.info("preference texts are not used: %s", reason)
        return UserFeatures.empty(dataset.num_users), f"auto: {reason}, not used"
    encoder = TextEncoder(encoding.text_model_name, encoding.texts_folder)
    raw = _encoded_where_present(texts, encoder, _stage(encoding.progress, "preference vectors"))
    fitted = item_texts.transformed(raw)
    note = f"{encoder.identity}, {int(fitted.mask.sum())} of {dataset.num_users} users"
    return UserFeatures(fitted.rows, fitted.mask), note


def _vectors(
    modality: Modality, policy: Policy, obtain: Callable[[], RawVectors] | None, like: FrozenVectors | None
) -> tuple[FrozenVectors | None, str]:
    if obtain is None:
        return None, "off"
    try:
        raw = obtain()
    except FeatureError as error:
        if policy == "required":
            raise
        logger.warning("%s features are not used: %s", modality.stored, error)
        return None, f"auto: not used, {error}"
    if not raw.present:
        return None, _absent(modality, policy)
    note = f"{raw.identity}, {raw.present} of {len(raw.vectors)} items"
    logger.info("%s features: %s", modality.stored, note)
    return FrozenVectors.fitted(raw.vectors) if like is None else like.transformed([None, *raw.vectors]), note


def _absent(modality: Modality, policy: Policy) -> str:
    name, source = modality.stored, SOURCES[modality]
    if policy == "required":
        raise FeatureError(
            f"features.{name} is required, but {source.absent}: {source.remedy}, or train without it by "
            f"--set features.{name}=off"
        )
    logger.info("%s features are not used: %s", name, source.absent)
    return f"auto: {source.absent}, not used"


def _texts(items: Sequence[Item], encoding: Encoding) -> Callable[[], RawVectors]:
    def encode() -> RawVectors:
        encoder = TextEncoder(encoding.text_model_name)
        texts = [item.text for item in items]
        vectors = _encoded_where_present(texts, encoder, _stage(encoding.progress, "item texts"))
        return RawVectors(vectors, encoder.identity if any(vector is not None for vector in vectors) else "")

    return encode


def _images(items: Sequence[Item], encoding: Encoding) -> Callable[[], RawVectors]:
    name = encoding.config.image_model_name
    if names_a_file(name):
        return precomputed(name, items)

    def encode() -> RawVectors:
        encoder = ImageEncoder(name)
        stage = _stage(encoding.progress, "item images")
        return _image_vectors(items, encoder, encoding.config.image == "auto", stage)

    return encode


def precomputed(name: str, items: Sequence[Item]) -> Callable[[], RawVectors]:
    """Read the items' vectors from a file.

    Raises:
        FeatureError: if it cannot be read, or knows none of the items.
    """
    vectors = read_precomputed(name)
    item_ids = [item.item_id for item in items]
    unknown = vectors.unknown_ids(item_ids)
    if unknown and len(unknown) == len(vectors.item_ids):
        raise FeatureError(f"{name} knows none of the catalogue's items: its ids are like {unknown[0]!r}")
    if unknown:
        logger.info("%s: %d of %d ids are not in the catalogue", name, len(unknown), len(vectors.item_ids))
    return lambda: RawVectors(vectors.rows_for(item_ids), vectors.identity)


def _encoded_where_present(
    texts: Sequence[str], encoder: TextEncoder, progress: Progress | None
) -> list[FloatArray | None]:
    present = [index for index, text in enumerate(texts) if text.strip()]
    vectors: list[FloatArray | None] = [None] * len(texts)
    encoded = encoder.encode([texts[index] for index in present], progress) if present else ()
    for index, vector in zip(present, encoded, strict=True):
        vectors[index] = vector
    return vectors


def _image_vectors(
    items: Sequence[Item], encoder: ImageEncoder, skip_broken: bool, progress: Progress | None
) -> RawVectors:
    paths = {index: item.image_path for index, item in enumerate(items) if item.image_path is not None}
    vectors: list[FloatArray | None] = [None] * len(items)
    if not paths:
        return RawVectors(vectors, "")
    encoded, mask = encoder.encode(list(paths.values()), skip_broken=skip_broken, progress=progress)
    for index, vector, present in zip(paths, encoded, mask, strict=True):
        vectors[index] = vector if present else None
    return RawVectors(vectors, encoder.identity)


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


SOURCES: Mapping[Modality, Source] = {
    Modality.TEXT: Source(_texts, "no item has a text", "give titles, genres or descriptions with --items FILE"),
    Modality.VISUAL: Source(
        _images,
        "no item has an image",
        "give images with --images DIR, or a file of vectors with --set features.image_model_name=FILE",
    ),
}
