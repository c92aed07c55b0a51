"""The model of a run on nodes for one node's own users, whose histories and memories stay on its owner's machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedmem.checkpoint import Checkpoint, RunDirectory, Snapshot, check_fits
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import CheckpointError, ConfigError
from fedmem.nodes.node import own_users
from fedmem.nodes.node_store import NodeStore
from fedmem.nodes.roster import FILE, Roster
from fedmem.serving.recommender import Recommender


@dataclass(frozen=True, eq=False)
class NodeModel:
    """A model that answers a node's users.

    Attributes:
        recommender: knows those who took part in the run, as they were when it began, and what they remember.
        since: by user, the ids of the items that the node's data has beyond that, oldest first.
    """

    recommender: Recommender
    since: Mapping[str, Sequence[str]]

    @classmethod
    def load(cls, run: Path, data: Path, store: Path | None = None) -> "NodeModel":
        """Read the best checkpoint of a run, which holds no user, and beside it a node's own.

        Args:
            run: the run's folder, or a copy of it.
            data: the node's file or folder of interactions, as it is now.
            store: the folder in which the node keeps what its users remember; without one, histories are replayed.

        Raises:
            CheckpointError: if there is no run, it is damaged, or the store holds nothing of its best round.
            ConfigError: if the run is not one on nodes.
        """
        directory = RunDirectory(run)
        public, checkpoint = directory.read_snapshot(), directory.read_best()
        if public.config.clients_here:
            raise ConfigError(
                f"{run} holds users of its own: --node serves a run with engine = flower, whose users are at nodes"
            )
        snapshot = public
        if store is not None:
            snapshot, checkpoint = _with_users(directory, public, checkpoint, store)
        check_fits(snapshot, checkpoint, str(run))
        version = f"{run.resolve().name}-{checkpoint.server.round:06d}"
        recommender = Recommender.of(snapshot, checkpoint, version)
        return cls(recommender, _since(recommender, own_users(data, public.config, public.dataset)))


def _with_users(
    directory: RunDirectory, public: Snapshot, checkpoint: Checkpoint, store: Path
) -> tuple[Snapshot, Checkpoint]:
    """Put a node's users beside what is public: their data of then, texts and memories."""
    node = NodeStore(store, Roster(directory.path / FILE).run)
    if not node.ready:
        raise CheckpointError(
            f"{store}: the run of {directory.path} was not set up here. Is it this node's store, and was {FILE} copied?"
        )
    with node.alone():
        dataset = replace(node.dataset(), name=public.dataset.name)
        memories = node.remembered(checkpoint.server.round, public.config, dataset.num_users)
        snapshot = replace(public, dataset=dataset, user_features=node.user_features())
    # What each user handed on is not taken out of a table that others share.
    handed_on = None if checkpoint.handed_on is None else np.zeros(dataset.num_users, np.int64)
    return snapshot, replace(checkpoint, memories=memories, handed_on=handed_on)


def _since(recommender: Recommender, own: FederatedDataset) -> dict[str, Sequence[str]]:
    """Compare the data of now with that of then; who is no longer there, or did otherwise, is forgotten."""
    before, now = recommender.dataset, own.vocabulary
    gone = [user_id for user_id in before.vocabulary.users if now.find_user(user_id) is None]
    since: dict[str, Sequence[str]] = {}
    for user, user_id in enumerate(now.users):
        known = before.vocabulary.find_user(user_id)
        new = own.history(user) if known is None else _behind(before.history(known), own.history(user))
        if new is None:
            gone.append(user_id)
        since[user_id] = [now.item_id(item) for item in (own.history(user) if new is None else new).tolist()]
    for user_id in gone:
        recommender.forget_user(user_id)
    return since


def _behind(first: npt.NDArray[np.int32], whole: npt.NDArray[np.int32]) -> npt.NDArray[np.int32] | None:
    """Return what comes behind the first part of a history; None if it is not its first part."""
    return whole[len(first) :] if np.array_equal(whole[: len(first)], first) else None
