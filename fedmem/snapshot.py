"""What a run starts from: the data with its cold users drawn, the frozen features, and what is said of them."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from fedmem.checkpoint import Snapshot
from fedmem.config import ExperimentConfig, FeaturesConfig, ModelConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.split import HELD_OUT
from fedmem.data.trainable import require_several_users
from fedmem.errors import ConfigError
from fedmem.evaluation.evaluate import repeated_shares
from fedmem.features.build import Encoding, StageProgress, build_item_features, build_user_features
from fedmem.features.cache import Cache
from fedmem.features.preference_endpoint import preference_writer
from fedmem.features.store import ItemFeatures
from fedmem.federated.aggregation import AGGREGATIONS
from fedmem.federated.secure_aggregation import check_cohort
from fedmem.federated.server_optimizers import SERVER_OPTIMIZERS
from fedmem.federated.start import check_device
from fedmem.modality import FROZEN, Modality
from fedmem.model.recommendation_losses import LOSSES
from fedmem.privacy.startable import check_startable
from fedmem.randomness import numpy_generator

logger = logging.getLogger(__name__)

FEW_REPEATS = 0.01  # of the targets, below which it is not worth a word that they repeat


def take_snapshot(
    config: ExperimentConfig,
    dataset: FederatedDataset,
    progress: StageProgress | None = None,
    like: Snapshot | None = None,
    texts_folder: Path | None = None,
) -> Snapshot:
    """Prepare everything a run starts from: the data with its cold users drawn, and the frozen features.

    Args:
        config: the run's configuration.
        dataset: the data.
        progress: told of what is being done.
        like: an older snapshot, a model of which is to go on with this one: it reads the same modalities, with the mean
            and the scale that it knows, and the cold users of then stay cold.
        texts_folder: where preference texts and their vectors are kept; unset, where all else that was encoded is.
    """
    check_startable(config)
    check_device(config.device)
    _warn_of_weak_settings(config)
    writer = preference_writer(config.features.preference_source, Cache(texts_folder))
    dataset = dataset.configured(config.data)
    if not config.clients_here:  # the users are those of the nodes
        dataset = dataset.catalogue()
    else:
        require_several_users(dataset)
    if like is not None:
        dataset = _with_cold_users_of(like.dataset, dataset)
    elif config.data.cold_user_fraction:
        dataset = _with_cold_users(config.data.cold_user_fraction, config.seed, dataset)
    _check_cohorts(config, dataset)
    _say_what_is_left_out(dataset)
    read = (
        _features_read(config.features, uses_retriever=config.uses_retriever)
        if like is None
        else _features_of(like.features, config.features)
    )
    known = None if like is None else like.features
    encoding = Encoding(read, config.model.text_model_name, progress, known, texts_folder)
    features, provenance = build_item_features(dataset.items, encoding)
    _check_text_dim(config.model, features)
    written_here = config.uses_memory and config.clients_here
    policy = config.features.preference_text if written_here else "off"
    user_features, note = build_user_features(dataset, features, encoding, policy, writer)
    logger.info("preference texts: %s", note)
    return Snapshot(config, dataset, features, user_features, provenance | {"preference_text": note})


def _features_read(features: FeaturesConfig, *, uses_retriever: bool) -> FeaturesConfig:
    """Leave images, which the visual expert alone reads, off where there are no experts, unless they are asked for."""
    unread = not uses_retriever and features.image == "auto"
    return features.model_copy(update={"image": "off"}) if unread else features


def _features_of(trained: ItemFeatures, config: FeaturesConfig) -> FeaturesConfig:
    """Require the modalities that a model was trained with, and leave off those that it has no place for."""
    policies = {m.stored: "required" if m in trained.vectors else "off" for m in FROZEN}
    return config.model_copy(update=policies)


def _with_cold_users_of(before: FederatedDataset, dataset: FederatedDataset) -> FederatedDataset:
    ids = [before.vocabulary.user_id(user) for user in before.cold_users.tolist()]
    found = [user for user_id in ids if (user := dataset.vocabulary.find_user(user_id)) is not None]
    return replace(dataset, cold_users=np.array(sorted(found), np.int64))


def _check_cohorts(config: ExperimentConfig, dataset: FederatedDataset) -> None:
    """Refuse, before anything is encoded, secure sums that would be over too few clients; those of nodes come later."""
    if config.secure_sums.enabled and config.clients_here:
        check_cohort(config, config.federated.cohort_size(len(dataset.trainable_users)), "a round")
        check_cohort(config, len(dataset.evaluated_users), "a validation")


def _with_cold_users(fraction: float, seed: int, dataset: FederatedDataset) -> FederatedDataset:
    trainable = len(dataset.trainable_users)
    drawn = dataset.with_cold_users(fraction, numpy_generator(seed, "cold users"))
    if not len(drawn.trainable_users):
        raise ConfigError(
            f"data.cold_user_fraction = {fraction} keeps all of the {trainable} users who are long enough out of "
            "training: lower it, or give data with more users"
        )
    return drawn


def _warn_of_weak_settings(config: ExperimentConfig) -> None:
    """Warn of combinations that are allowed and yet hardly intended."""
    federated, training = config.federated, config.training
    if config.uses_memory and federated.num_rounds <= config.fedmem.warmup_rounds:
        logger.warning(
            "no memory will be written: federated.num_rounds = %d does not exceed fedmem.warmup_rounds = %d",
            federated.num_rounds,
            config.fedmem.warmup_rounds,
        )
    if AGGREGATIONS[federated.aggregation_method].proximal(federated) and config.is_fedsgd:
        method = federated.aggregation_method
        logger.warning(
            "%s has no effect with one local step: set training.batch_size or federated.local_epochs", method
        )
    if federated.row_normalisation and LOSSES[training.loss].whole_catalogue:
        logger.warning("federated.row_normalisation has no effect with %s, which touches every item row", training.loss)
    if not SERVER_OPTIMIZERS[federated.server_optimizer].rescales and federated.server_learning_rate < 0.1:
        logger.warning(
            "federated.server_learning_rate = %s is meant for adam; plain averaging is 1",
            federated.server_learning_rate,
        )
    if training.optimizer == "adam" and training.learning_rate > 0.1:
        logger.warning("training.learning_rate = %s is meant for one step of sgd", training.learning_rate)


def _say_what_is_left_out(dataset: FederatedDataset) -> None:
    """Log which histories are too long to be trained on as a whole, and how many targets repeat."""
    trainable = dataset.trainable_users
    longer = trainable[dataset.lengths[trainable] - HELD_OUT > dataset.training_lengths[trainable]]
    if len(longer):
        longest = dataset.lengths[longer].max()
        others = f" (and {len(longer) - 1:,} users more)" if len(longer) > 1 else ""
        logger.warning(
            "a user has %s interactions%s: a client trains on the newest data.max_history = %s of them",
            f"{longest:,}",
            others,
            f"{dataset.max_history:,}",
        )
    _say_what_repeats(dataset)


def _say_what_repeats(dataset: FederatedDataset) -> None:
    shares = repeated_shares(dataset)
    if max(shares.values(), default=0.0) < FEW_REPEATS:
        return
    what = " and ".join(f"{share:.1%} of the {split} targets" for split, share in shares.items())
    if dataset.repeats == "hide":
        logger.warning(
            "%s are items that their users took before; they are never offered and count as misses: set "
            "data.repeats=offer to recommend such items",
            what,
        )
    else:
        logger.info("%s are items that their users took before; they are ranked and offered (data.repeats=offer)", what)


def _check_text_dim(config: ModelConfig, features: ItemFeatures) -> None:
    expected, texts = config.text_embedding_dim, features.vectors.get(Modality.TEXT)
    if expected is not None and texts is not None and len(texts.mean) != expected:
        raise ConfigError(
            f"model.text_embedding_dim = {expected}, but {config.text_model_name} gives vectors of "
            f"{len(texts.mean)}. Set it to that, or to null."
        )
