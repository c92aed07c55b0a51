"""A node: its owner's data file, its clients' memories on its own disk, and an answer to every letter.

What comes back names no user: a node numbers its users itself, and sends sums over them. Where sums are secure it masks
those too, with other nodes.
"""

import functools
import logging
import operator
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig
from fedmem.config_reader import validate_config
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats import load_dataset
from fedmem.data.trainable import require_trainable
from fedmem.errors import OUT_OF_MEMORY, CheckpointError, ConfigError, FedMemError, TrainingError
from fedmem.features.build import Encoding, build_user_features
from fedmem.features.cache import Cache
from fedmem.features.preference_endpoint import preference_writer
from fedmem.features.store import ItemFeatures, UserFeatures
from fedmem.federated.messages import MetricSums, UpdateSum
from fedmem.federated.simulation import SimulatedPopulation
from fedmem.federated.start import build_model
from fedmem.nodes.letter import Letter
from fedmem.nodes.masked import metric_lanes, update_lanes
from fedmem.nodes.masking import Joined, MaskingNode, Unopened
from fedmem.nodes.node_store import NodeStore
from fedmem.nodes.setup import catalogue_of
from fedmem.nodes.wire import broadcast_of, metrics_letter, update_letter

logger = logging.getLogger(__name__)

UserIndices = npt.NDArray[np.int64]


def own_users(data: Path, config: ExperimentConfig, catalogue: FederatedDataset) -> FederatedDataset:
    """Read an owner's users under a catalogue's item numbers, without the items that it lacks."""
    own = load_dataset(data, min_sequence_length=config.data.min_sequence_length)
    known = own.numbered_as(catalogue).configured(config.data)
    if left_out := len(own.sequence) - len(known.sequence):
        logger.warning("%d interactions are left out: the catalogue lacks their items", left_out)
    return known


class Node:
    """One owner's users.

    Args:
        name: how the node is called; its users are numbered in the order of the nodes' names.
        data: a folder or file of interactions, as ``fedmem train --data`` reads them.
        store: the folder that keeps what the node remembers.
        least: fewest nodes that its sums are added up with in secret; None leaves it to the run whether they are.
    """

    def __init__(self, name: str, data: Path, store: Path, least: int | None = None) -> None:
        self.name, self.data, self.store, self.least = name, data, store, least

    def answer(self, letter: Letter) -> Letter:
        """Do what a letter asks; what cannot be done is said in the answer, without a word of the data."""
        facts = letter.facts
        echo = {"node": self.name, "kind": facts.get("kind"), "order": facts.get("order"), "round": facts.get("round")}
        began = time.process_time()
        try:
            found = self._answer(letter)
        except CheckpointError as error:  # of the node's own store
            logger.error("%s", error)
            return Letter(echo | {"error": f"its store does not serve: {str(error).replace(str(self.store), 'STORE')}"})
        except Unopened as error:
            logger.error("%s", error)
            return Letter(echo | {"unopened": error.owners})
        except (FedMemError, MemoryError) as error:
            logger.error("%s", error or OUT_OF_MEMORY)
            return Letter(echo | {"error": f"{type(error).__name__}; the node's own log says more"})
        except Exception as error:  # its text might hold some of the data
            logger.exception("a letter of the kind %r could not be answered", facts.get("kind"))
            return Letter(echo | {"error": f"{type(error).__name__}; the node's own log says more"})
        return Letter({**found.facts, **echo, "cpu_seconds": time.process_time() - began}, found.arrays)

    def _answer(self, letter: Letter) -> Letter:
        kinds: Mapping[str, Callable[[NodeStore, Letter], Letter]] = {
            "hello": self._hello,
            "setup": self._set_up,
            "train": self._train,
            "evaluate": self._evaluate,
            "keys": lambda store, asked: self._masking(store, asked).announce(asked),
            "shares": lambda store, asked: self._masking(store, asked).share(asked),
            "reveal": lambda store, asked: self._masking(store, asked).reveal(asked),
        }
        store = NodeStore(self.store, str(letter.facts["run"]))
        with store.alone():
            return kinds[letter.facts["kind"]](store, letter)

    def _hello(self, store: NodeStore, letter: Letter) -> Letter:
        return self._presented(store.dataset()) if store.ready else Letter({"ready": False})

    def _presented(self, dataset: FederatedDataset) -> Letter:
        """Tell how many users there are, and which of them, by number, can be trained on."""
        trainable = dataset.trainable_users
        return Letter({"ready": True, "users": dataset.num_users}, {"trainable": trainable})

    def _set_up(self, store: NodeStore, letter: Letter) -> Letter:
        if store.ready:
            return self._presented(store.dataset())
        config = self._accepted(letter)
        dataset = own_users(self.data, config, catalogue_of(letter))
        require_trainable(dataset, str(self.data))
        user_features = self._user_features(config, dataset, ItemFeatures.from_arrays(letter.arrays))
        store.set_up(letter, dataset, user_features)
        return self._presented(dataset)

    def _accepted(self, setup: Letter) -> ExperimentConfig:
        """Read a run's configuration, also of one that was set up before the owner insisted on secure sums."""
        config = _config_of(setup)
        if self.least is not None and not config.secure_sums.enabled:
            raise ConfigError(f"minimum_nodes = {self.least} of this node refuses runs without secure_sums.enabled")
        return config

    def _user_features(
        self, config: ExperimentConfig, dataset: FederatedDataset, features: ItemFeatures
    ) -> UserFeatures:
        policy = config.features.preference_text if config.uses_memory else "off"
        writer = preference_writer(config.features.preference_source, Cache())
        encoding = Encoding(config.features, config.model.text_model_name, None)
        return build_user_features(dataset, features, encoding, policy, writer)[0]

    def _train(self, store: NodeStore, letter: Letter) -> Letter:
        """Train the drawn clients, all chunks of them, and add up what comes of it."""
        round_number, clients = letter.facts["round"], letter.arrays["clients"]
        joined = self._joined(store, letter)
        with closing(self._population(store, letter, to_train=True)) as population:
            chosen = _handing_on(letter, population)
            store.begin_round(round_number + 1)
            broadcast = broadcast_of(letter, population.config.transitions)
            chunks = (chunk for chunk in population.train(clients, broadcast) if isinstance(chunk, UpdateSum))
            update = functools.reduce(operator.add, chunks)
            if joined is None:
                return update_letter(update)
            handed_on = None if chosen is None else population.handed_on_together(chosen, broadcast)
            lanes, form = update_lanes(population.config, joined.cohort, joined.nodes, update, handed_on)
            return Letter({"form": form}, joined.masked(lanes))

    def _evaluate(self, store: NodeStore, letter: Letter) -> Letter:
        split, joined = letter.facts["split"], self._joined(store, letter)
        with closing(self._population(store, letter, to_train=False)) as population:
            if split == "validation":
                store.keep(letter.facts["round"], population.config.federated.patience + 1)
            broadcast = broadcast_of(letter, population.config.transitions)
            groups = (found for found in population.evaluate(broadcast, split) if isinstance(found, MetricSums))
            sums = functools.reduce(operator.add, groups)
            if joined is None:
                return metrics_letter(sums)
            return Letter({}, joined.masked(metric_lanes(joined.cohort, sums.count, sums)))

    def _joined(self, store: NodeStore, letter: Letter) -> Joined | None:
        """Join the session of a letter, before anything is computed; None where sums are not secure."""
        masking = self._masking(store, letter)
        return masking.join(letter) if masking.config.secure_sums.enabled else None

    def _masking(self, store: NodeStore, letter: Letter) -> MaskingNode:
        """Take up the secure sum that a letter belongs to, unless it is older than one that was answered."""
        self._require(store)
        store.heed_order(letter.facts["order"])
        return MaskingNode(self.name, store, self._accepted(store.setup()), self.least or 0)

    def _require(self, store: NodeStore) -> None:
        if not store.ready:
            raise CheckpointError("the run was not set up here; was the store's folder removed?")

    def _population(self, store: NodeStore, letter: Letter, *, to_train: bool) -> SimulatedPopulation:
        """Set up the node's clients as they stood after the letter's round."""
        self._require(store)
        setup = store.setup()
        config = _config_of(setup)
        dataset, features = store.dataset(), ItemFeatures.from_arrays(setup.arrays)
        store.forget(letter.facts["missed"], config, dataset.num_users)
        model = build_model(config, dataset.num_items, features)
        return SimulatedPopulation(
            config,
            dataset,
            features,
            store.user_features(),
            model,
            scratch=store.path,
            memories=store.memories(letter.facts["round"], to_train=to_train),
            first=letter.facts["first"],
        )


def _handing_on(letter: Letter, population: SimulatedPopulation) -> UserIndices | None:
    """Read who hands on; refuse those who have, beside whom a secure sum would be of the others alone."""
    chosen = letter.arrays.get("handing_on")
    if chosen is not None and len(np.setdiff1d(chosen, population.having_transitions(letter.facts["round"]))):
        raise TrainingError("the server asks for transitions that were handed on before: its files are not of one time")
    return chosen


def _config_of(setup: Letter) -> ExperimentConfig:
    return validate_config(dict(setup.facts["config"]), "the server's configuration")
